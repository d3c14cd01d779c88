package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/perdure/perdure/durable"
)

// users is the one object of class Users: who there is, and who there was.
type users struct{ st *durable.State }

func newUsers(_ context.Context, st *durable.State) (*users, error) { return &users{st}, nil }

// Keys of Users; doc.go has them as a table.
const (
	countKey      = "c"
	namePrefix    = "n"
	idKeyPrefix   = "i"
	removedPrefix = "r"
	removedID     = "d"
)

type entry struct {
	ID    string `cbor:"1,keyasint"`
	Added int64  `cbor:"2,keyasint"` // Unix milliseconds
}

type removal struct {
	Removed int64 `cbor:"1,keyasint"` // Unix milliseconds
}

func removedKey(name, id string) string { return removedPrefix + name + " " + id }

type enterArgs struct{ Name, ID string }

// Enter lets a user in, or returns ErrNameTaken.
func (s *users) Enter(ctx context.Context, args enterArgs) (User, error) {
	storage := s.st.Storage()
	if found, err := storage.Get(ctx, namePrefix+args.Name, new(entry)); err != nil {
		return User{}, fmt.Errorf("enter user: %w", err)
	} else if found {
		return User{}, ErrNameTaken
	}
	n, err := s.Count(ctx)
	if err != nil {
		return User{}, err
	}
	e := entry{ID: args.ID, Added: s.st.Now().UnixMilli()}
	err = storage.PutMany(ctx, map[string]any{namePrefix + args.Name: e, idKeyPrefix + args.ID: args.Name, countKey: n + 1})
	if err != nil {
		return User{}, fmt.Errorf("enter user: %w", err)
	}
	return e.user(args.Name), nil
}

func (e entry) user(name string) User {
	return User{ID: e.ID, Name: name, Added: time.UnixMilli(e.Added).UTC()}
}

// Count returns how many users there are.
func (s *users) Count(ctx context.Context) (int, error) {
	var n int
	if _, err := s.st.Storage().Get(ctx, countKey, &n); err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	return n, nil
}

// Find returns the user with a name or id, or ErrNoUser.
func (s *users) Find(ctx context.Context, nameOrID string) (User, error) {
	name := nameOrID
	if isID(name) {
		found, err := s.st.Storage().Get(ctx, idKeyPrefix+nameOrID, &name)
		if err != nil {
			return User{}, fmt.Errorf("find user: %w", err)
		}
		if !found {
			return User{}, ErrNoUser
		}
	}
	var e entry
	found, err := s.st.Storage().Get(ctx, namePrefix+name, &e)
	if err != nil {
		return User{}, fmt.Errorf("find user: %w", err)
	}
	if !found {
		return User{}, ErrNoUser
	}
	return e.user(name), nil
}

// Leave takes a user out, who is remembered as removed. One who has left already is
// found again, so that the rest of a removal can be repeated.
func (s *users) Leave(ctx context.Context, nameOrID string) (User, error) {
	u, err := s.Find(ctx, nameOrID)
	if errors.Is(err, ErrNoUser) {
		return s.FindRemoved(ctx, nameOrID)
	}
	if err != nil {
		return u, err
	}
	n, err := s.Count(ctx)
	if err != nil {
		return u, err
	}
	storage := s.st.Storage()
	u.Removed = s.st.Now().UTC().Truncate(time.Millisecond)
	err = storage.PutMany(ctx, map[string]any{
		removedKey(u.Name, u.ID): removal{u.Removed.UnixMilli()}, removedID + u.ID: u.Name, countKey: n - 1,
	})
	if err == nil {
		_, err = storage.DeleteMany(ctx, []string{namePrefix + u.Name, idKeyPrefix + u.ID})
	}
	if err != nil {
		return u, fmt.Errorf("remove user: %w", err)
	}
	return u, nil
}

// FindRemoved returns the removed user with an id, or the only one who had a name. It
// returns ErrNoUser or ErrAmbiguous.
func (s *users) FindRemoved(ctx context.Context, nameOrID string) (User, error) {
	name, id := nameOrID, ""
	if isID(name) {
		id = nameOrID
		found, err := s.st.Storage().Get(ctx, removedID+id, &name)
		if err != nil {
			return User{}, fmt.Errorf("find removed user: %w", err)
		}
		if !found {
			return User{}, ErrNoUser
		}
	}
	all, err := s.removed(ctx, durable.ListOptions{Prefix: removedKey(name, id), Limit: 2})
	switch {
	case err != nil:
		return User{}, err
	case len(all) == 0:
		return User{}, ErrNoUser
	case len(all) > 1:
		return User{}, ErrAmbiguous
	}
	return all[0], nil
}

// Forget forgets a removed user, or returns ErrNoUser.
func (s *users) Forget(ctx context.Context, id string) error {
	u, err := s.FindRemoved(ctx, id)
	if err != nil {
		return err
	}
	if _, err := s.st.Storage().DeleteMany(ctx, []string{removedKey(u.Name, u.ID), removedID + u.ID}); err != nil {
		return fmt.Errorf("forget user: %w", err)
	}
	return nil
}

type listArgs struct {
	After string // the name, or removed name and id, of the last one before
	Limit int
}

// List returns users in the order of their names.
func (s *users) List(ctx context.Context, args listArgs) ([]User, error) {
	var all []User
	opts := durable.ListOptions{Prefix: namePrefix, StartAfter: after(namePrefix, args.After), Limit: args.Limit}
	for kv, err := range s.st.Storage().List(ctx, opts) {
		var e entry
		if err == nil {
			err = kv.Decode(&e)
		}
		if err != nil {
			return nil, fmt.Errorf("list users: %w", err)
		}
		all = append(all, e.user(kv.Key[len(namePrefix):]))
	}
	return all, nil
}

// ListRemoved returns removed users in the order of names and ids.
func (s *users) ListRemoved(ctx context.Context, args listArgs) ([]User, error) {
	return s.removed(ctx, durable.ListOptions{Prefix: removedPrefix, StartAfter: after(removedPrefix, args.After), Limit: args.Limit})
}

func after(prefix, name string) string {
	if name == "" {
		return ""
	}
	return prefix + name
}

func (s *users) removed(ctx context.Context, opts durable.ListOptions) ([]User, error) {
	var all []User
	for kv, err := range s.st.Storage().List(ctx, opts) {
		var r removal
		if err == nil {
			err = kv.Decode(&r)
		}
		if err != nil {
			return nil, fmt.Errorf("list removed users: %w", err)
		}
		name, id, _ := strings.Cut(kv.Key[len(removedPrefix):], " ")
		all = append(all, User{ID: id, Name: name, Removed: time.UnixMilli(r.Removed).UTC()})
	}
	return all, nil
}
