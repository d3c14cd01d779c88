package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/perdure/perdure/durable"
)

// MaxSettings is how large a user's settings may be, in bytes of JSON.
const MaxSettings = 64 << 10

// Settings returns a user's settings, a JSON object; nil if there never were any. Error: ErrNoUser.
func (a *Accounts) Settings(ctx context.Context, id string) ([]byte, error) {
	rec, err := durable.Call0(ctx, a.user(id), (*user).Settings)
	return rec.Data, err
}

// ChangeSettings replaces a user's settings by what change makes of them, and returns
// that. change runs again if somebody else changed them meanwhile, so that no change is
// lost; it gets nil if there are none, and its error is returned as it is. Errors:
// ErrNoUser, ErrInvalid for what is no JSON object or over [MaxSettings].
func (a *Accounts) ChangeSettings(ctx context.Context, id string, change func(old []byte) ([]byte, error)) ([]byte, error) {
	for {
		rec, err := durable.Call0(ctx, a.user(id), (*user).Settings)
		if err != nil {
			return nil, err
		}
		next, err := change(rec.Data)
		if err != nil {
			return nil, err
		}
		if err := checkSettings(next); err != nil {
			return nil, err
		}
		err = durable.Exec(ctx, a.user(id), (*user).SaveSettings, settingsRecord{rec.Version + 1, next})
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, errChanged) {
			return nil, err
		}
	}
}

func checkSettings(data []byte) error {
	if len(data) > MaxSettings {
		return fmt.Errorf("%w settings: %d bytes, at most %d", ErrInvalid, len(data), MaxSettings)
	}
	if !json.Valid(data) || !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return fmt.Errorf("%w settings: not a JSON object", ErrInvalid)
	}
	return nil
}
