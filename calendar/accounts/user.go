package accounts

import (
	"context"
	"crypto/subtle"
	"fmt"

	"github.com/perdure/perdure/durable"
)

// user is an object of class User, one per user id.
type user struct{ st *durable.State }

func newUser(_ context.Context, st *durable.State) (*user, error) { return &user{st}, nil }

// Keys of a User; doc.go has them as a table.
const (
	userKey       = "u"
	credentialKey = "c"
	settingsKey   = "s"
)

type userRecord struct {
	Name    string `cbor:"1,keyasint"`
	Added   int64  `cbor:"2,keyasint"` // Unix milliseconds
	Hash    []byte `cbor:"3,keyasint,omitempty"`
	Removed bool   `cbor:"4,keyasint,omitempty"`
}

type settingsRecord struct {
	Version uint64 `cbor:"1,keyasint"`
	Data    []byte `cbor:"2,keyasint"` // a JSON object
}

type createArgs struct {
	Name string
	Hash []byte
}

// Create makes the user, who can't log in before he is in Users.
func (u *user) Create(ctx context.Context, args createArgs) error {
	_, found, err := u.record(ctx)
	if err != nil {
		return err
	}
	if found {
		return fmt.Errorf("create user: %w", ErrNameTaken) // the id is: random ones never are
	}
	rec := userRecord{Name: args.Name, Added: u.st.Now().UnixMilli(), Hash: args.Hash}
	return u.put(ctx, "create user", userKey, rec)
}

// Verify says whether a secret with that hash is the user's.
func (u *user) Verify(ctx context.Context, hash []byte) (bool, error) {
	rec, found, err := u.record(ctx)
	if err != nil || !found {
		return false, err
	}
	return len(rec.Hash) > 0 && subtle.ConstantTimeCompare(rec.Hash, hash) == 1, nil
}

// Revoke takes away what the user could log in with, here and elsewhere, and returns the
// sealed credential of elsewhere, nil if there was none. A user who does not exist has nothing.
func (u *user) Revoke(ctx context.Context) (sealed []byte, err error) {
	rec, found, err := u.record(ctx)
	if err != nil || !found {
		return nil, err
	}
	rec.Hash, rec.Removed = nil, true
	if err := u.put(ctx, "revoke user", userKey, rec); err != nil {
		return nil, err
	}
	if sealed, err = u.former(ctx); err != nil {
		return nil, err
	}
	if _, err := u.st.Storage().Delete(ctx, credentialKey); err != nil {
		return nil, fmt.Errorf("revoke user: %w", err)
	}
	return sealed, nil
}

// Erase deletes everything.
func (u *user) Erase(ctx context.Context) error {
	if err := u.st.Storage().DeleteAll(ctx); err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	return nil
}

// SetCredential keeps a sealed credential in place of the one before.
func (u *user) SetCredential(ctx context.Context, sealed []byte) error {
	if err := u.exists(ctx); err != nil {
		return err
	}
	if err := u.st.Storage().PutRaw(ctx, credentialKey, sealed); err != nil {
		return fmt.Errorf("save credential: %w", err)
	}
	return nil
}

// ReplaceCredential is SetCredential, and returns the one before; nil if there was none.
func (u *user) ReplaceCredential(ctx context.Context, sealed []byte) (before []byte, err error) {
	if before, err = u.former(ctx); err != nil {
		return nil, err
	}
	return before, u.SetCredential(ctx, sealed)
}

// former returns the sealed credential, nil if there is none.
func (u *user) former(ctx context.Context) ([]byte, error) {
	sealed, _, err := u.st.Storage().GetRaw(ctx, credentialKey)
	if err != nil {
		return nil, fmt.Errorf("load credential: %w", err)
	}
	return sealed, nil
}

// Credential returns the sealed credential, or ErrNoCredential.
func (u *user) Credential(ctx context.Context) ([]byte, error) {
	if err := u.exists(ctx); err != nil {
		return nil, err
	}
	sealed, found, err := u.st.Storage().GetRaw(ctx, credentialKey)
	if err != nil {
		return nil, fmt.Errorf("load credential: %w", err)
	}
	if !found {
		return nil, ErrNoCredential
	}
	return sealed, nil
}

// TakeCredential deletes the sealed credential and returns it, or ErrNoCredential.
func (u *user) TakeCredential(ctx context.Context) ([]byte, error) {
	sealed, err := u.Credential(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := u.st.Storage().Delete(ctx, credentialKey); err != nil {
		return nil, fmt.Errorf("delete credential: %w", err)
	}
	return sealed, nil
}

// Settings returns the settings; version 0 if there never were any.
func (u *user) Settings(ctx context.Context) (settingsRecord, error) {
	if err := u.exists(ctx); err != nil {
		return settingsRecord{}, err
	}
	return u.settings(ctx)
}

// SaveSettings replaces the settings that have the version before. Otherwise it returns errChanged.
func (u *user) SaveSettings(ctx context.Context, next settingsRecord) error {
	if err := u.exists(ctx); err != nil {
		return err
	}
	old, err := u.settings(ctx)
	if err != nil {
		return err
	}
	if old.Version+1 != next.Version {
		return errChanged
	}
	return u.put(ctx, "save settings", settingsKey, next)
}

func (u *user) settings(ctx context.Context) (settingsRecord, error) {
	var rec settingsRecord
	if _, err := u.st.Storage().Get(ctx, settingsKey, &rec); err != nil {
		return rec, fmt.Errorf("load settings: %w", err)
	}
	return rec, nil
}

// exists returns ErrNoUser unless the user was made and not removed, or is Me.
func (u *user) exists(ctx context.Context) error {
	if name, known := u.st.Name(); known && name == Me {
		return nil
	}
	rec, found, err := u.record(ctx)
	if err == nil && (!found || rec.Removed) {
		err = ErrNoUser
	}
	return err
}

func (u *user) record(ctx context.Context) (userRecord, bool, error) {
	var rec userRecord
	found, err := u.st.Storage().Get(ctx, userKey, &rec)
	if err != nil {
		return rec, false, fmt.Errorf("load user: %w", err)
	}
	return rec, found, nil
}

func (u *user) put(ctx context.Context, op, key string, v any) error {
	if err := u.st.Storage().Put(ctx, key, v); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
