package accounts

import (
	"testing"

	"github.com/perdure/perdure/durable"
)

// Sealed returns a user's credential as it is stored.
func Sealed(t *testing.T, rt *durable.Runtime, id string) []byte {
	t.Helper()
	sealed, err := durable.Call0(t.Context(), rt.Namespace(UserClass).Named(id), (*user).Credential)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// PutSealed stores what Sealed returns, or something else.
func PutSealed(t *testing.T, rt *durable.Runtime, id string, sealed []byte) {
	t.Helper()
	if err := durable.Exec(t.Context(), rt.Namespace(UserClass).Named(id), (*user).SetCredential, sealed); err != nil {
		t.Fatal(err)
	}
}
