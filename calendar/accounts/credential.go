package accounts

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/perdure/perdure/durable"
)

// Credential is how a user logs in to a calendar server. Printing one shows no password.
type Credential struct {
	Server   string // its address
	Username string
	Password string // at a Nextcloud, an app password
}

// maxCredential is the longest field of a credential, in bytes.
const maxCredential = 4096

// String returns user name and server only.
func (c Credential) String() string { return c.Username + " at " + c.Server }

// GoString returns user name and server only.
func (c Credential) GoString() string { return "accounts.Credential{" + c.String() + "}" }

// MarshalJSON keeps a credential from ending up in a log or an answer by mistake.
func (c Credential) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// credentialPurpose is bound to what is sealed, so that a value sealed for something
// else can't be put in its place.
const credentialPurpose = "calendar server"

// SetCredential seals a credential into a user's object, in place of the one before.
// It is durable when SetCredential returns. Errors: ErrNoUser, ErrInvalid, ErrKey.
func (a *Accounts) SetCredential(ctx context.Context, id string, c Credential) error {
	_, err := a.ReplaceCredential(ctx, id, c)
	return err
}

// Former is a credential that was kept until now. Its Credential is zero if there was none.
type Former struct {
	Credential
	Err error // ErrKey, of one that nobody can read
}

// ReplaceCredential is [Accounts.SetCredential], and returns the one before, to one caller of several.
func (a *Accounts) ReplaceCredential(ctx context.Context, id string, c Credential) (Former, error) {
	for _, field := range []struct{ name, value string }{{"server", c.Server}, {"user name", c.Username}, {"password", c.Password}} {
		if field.value == "" || len(field.value) > maxCredential {
			return Former{}, fmt.Errorf("%w credential: the %s has %d bytes, it must have 1 to %d", ErrInvalid, field.name, len(field.value), maxCredential)
		}
	}
	plain, err := json.Marshal([]string{c.Server, c.Username, c.Password})
	if err != nil {
		return Former{}, fmt.Errorf("save credential: %w", err)
	}
	sealed, err := a.key.seal(credentialPurpose, id, plain)
	if err != nil {
		return Former{}, fmt.Errorf("save credential: %w", err)
	}
	before, err := durable.Call(ctx, a.user(id), (*user).ReplaceCredential, sealed)
	if err != nil {
		return Former{}, err
	}
	return a.former(id, before), nil
}

func (a *Accounts) former(id string, sealed []byte) (was Former) {
	if len(sealed) > 0 {
		was.Credential, was.Err = a.unseal(id, sealed)
	}
	return was
}

// Proof returns what tells a user's credential from another one, and tells nothing of it to
// who has not the key. Error: ErrKey.
func (a *Accounts) Proof(id string, c Credential) (string, error) {
	plain, err := json.Marshal([]string{id, c.Server, c.Username, c.Password})
	if err != nil {
		return "", fmt.Errorf("prove credential: %w", err)
	}
	return a.key.prove(plain)
}

// Credential returns a user's credential. Errors: ErrNoUser, ErrNoCredential, ErrKey.
func (a *Accounts) Credential(ctx context.Context, id string) (Credential, error) {
	sealed, err := durable.Call0(ctx, a.user(id), (*user).Credential)
	if err != nil {
		return Credential{}, err
	}
	return a.unseal(id, sealed)
}

// TakeCredential deletes a user's credential and returns it, to one caller of several. That
// is durable when it returns. Errors: ErrNoUser, ErrNoCredential; ErrKey, if it is deleted
// and nobody can read it.
func (a *Accounts) TakeCredential(ctx context.Context, id string) (Credential, error) {
	sealed, err := durable.Call0(ctx, a.user(id), (*user).TakeCredential)
	if err != nil {
		return Credential{}, err
	}
	return a.unseal(id, sealed)
}

func (a *Accounts) unseal(id string, sealed []byte) (Credential, error) {
	plain, err := a.key.open(credentialPurpose, id, sealed)
	if err != nil {
		return Credential{}, fmt.Errorf("open the credential of user %s: %w", id, err)
	}
	var fields []string
	if json.Unmarshal(plain, &fields) != nil || len(fields) != 3 {
		return Credential{}, fmt.Errorf("open the credential of user %s: %w: not what was sealed", id, ErrKey)
	}
	return Credential{fields[0], fields[1], fields[2]}, nil
}
