package caldav

import (
	"errors"
	"testing"
)

// TestSyncErrors: with a token a refusal says to start anew; without one it must not.
func TestSyncErrors(t *testing.T) {
	for _, tt := range []struct {
		status         int
		precondition   string
		with, without  error
		neverWithToken error
	}{
		{403, "valid-sync-token", ErrSyncTokenInvalid, ErrSyncUnsupported, ErrForbidden},
		{409, "valid-sync-token", ErrSyncTokenInvalid, ErrSyncUnsupported, nil},
		{507, "number-of-matches-within-limits", ErrSyncTokenInvalid, ErrSyncUnsupported, ErrQuota},
		{400, "", ErrSyncTokenInvalid, ErrSyncUnsupported, ErrInvalid},
		{410, "", ErrSyncTokenInvalid, ErrNotFound, ErrNotFound},
		{403, "supported-report", ErrSyncUnsupported, ErrSyncUnsupported, ErrForbidden},
		{405, "", ErrSyncUnsupported, ErrSyncUnsupported, nil},
		{415, "", ErrSyncUnsupported, ErrSyncUnsupported, ErrInvalid},
		{501, "", ErrSyncUnsupported, ErrSyncUnsupported, ErrServer},
		{403, "", ErrForbidden, ErrForbidden, ErrSyncTokenInvalid},
		{404, "", ErrNotFound, ErrNotFound, ErrSyncTokenInvalid},
		{500, "", ErrServer, ErrServer, ErrSyncTokenInvalid},
	} {
		err := &StatusError{Method: "REPORT", Href: "/x", Status: tt.status}
		if tt.precondition != "" {
			err.Preconditions = append(err.Preconditions, dav(tt.precondition))
		}
		for token, want := range map[string]error{"t": tt.with, "": tt.without} {
			got := syncError(err, token)
			if !errors.Is(got, want) {
				t.Errorf("%d %s with token %q: %v, want %v", tt.status, tt.precondition, token, got, want)
			}
			if token == "" && errors.Is(got, ErrSyncTokenInvalid) {
				t.Errorf("%d %s: told to start anew after having started anew", tt.status, tt.precondition)
			}
			if token != "" && tt.neverWithToken != nil && errors.Is(got, tt.neverWithToken) {
				t.Errorf("%d %s with a token is %v as well", tt.status, tt.precondition, tt.neverWithToken)
			}
			var status *StatusError
			if !errors.As(got, &status) || status.Status != tt.status {
				t.Errorf("%d %s with token %q: the facts are lost", tt.status, tt.precondition, token)
			}
		}
	}
}
