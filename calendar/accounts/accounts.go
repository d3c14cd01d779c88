package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perdure/perdure/durable"
)

// Names of the classes.
const (
	UserClass  = "User"
	UsersClass = "Users"
)

// Classes returns the classes that a runtime needs for [New]. They speak to this package only.
func Classes() []durable.Class {
	opts := &durable.ClassOptions{Errors: crossing}
	return []durable.Class{
		durable.NewClass(UserClass, newUser, opts),
		durable.NewClass(UsersClass, newUsers, opts),
	}
}

// User is somebody who can log in, or could.
type User struct {
	ID      string
	Name    string
	Added   time.Time // zero for one who was removed
	Removed time.Time // zero for one who was not
}

// Accounts are the users. It may be used by any goroutine, and by several programs over
// the same objects: nothing is kept in memory. What a method did is durable when it
// returns; if it returns an error of package durable, it may have happened.
type Accounts struct {
	all *durable.Stub
	one *durable.Namespace
	key *Key
}

// New returns the users of a runtime that has the [Classes]; it panics if it has not.
// Credentials are sealed under key.
func New(rt *durable.Runtime, key *Key) *Accounts {
	a := &Accounts{one: rt.Namespace(UserClass), key: key}
	all := rt.Namespace(UsersClass)
	if a.one == nil || all == nil || key == nil {
		panic("accounts: the runtime lacks the classes User and Users, or there is no key")
	}
	a.all = all.Named("all")
	return a
}

func (a *Accounts) user(id string) *durable.Stub { return a.one.Named(id) }

// Add makes a user and returns the one token, "id.secret", that nobody can show again.
// Errors: ErrInvalidName, ErrNameTaken.
func (a *Accounts) Add(ctx context.Context, name string) (u User, token string, err error) {
	if err := CheckName(name); err != nil {
		return User{}, "", err
	}
	if _, err := a.Find(ctx, name); !errors.Is(err, ErrNoUser) {
		if err == nil {
			err = ErrNameTaken
		}
		return User{}, "", err
	}
	id, secret := newID(), newSecret()
	if err := durable.Exec(ctx, a.user(id), (*user).Create, createArgs{Name: name, Hash: hash(secret)}); err != nil {
		return User{}, "", fmt.Errorf("add user: %w", err)
	}
	u, err = durable.Call(ctx, a.all, (*users).Enter, enterArgs{Name: name, ID: id})
	if errors.Is(err, ErrNameTaken) {
		err = errors.Join(err, durable.Exec0(ctx, a.user(id), (*user).Erase))
	}
	if err != nil {
		return User{}, "", fmt.Errorf("add user: %w", err)
	}
	return u, id + "." + secret, nil
}

// Any reports whether there are users.
func (a *Accounts) Any(ctx context.Context) (bool, error) {
	n, err := durable.Call0(ctx, a.all, (*users).Count)
	return n > 0, err
}

// Find returns the user with a name or an id, or ErrNoUser.
func (a *Accounts) Find(ctx context.Context, nameOrID string) (User, error) {
	if len(nameOrID) > MaxName {
		return User{}, ErrNoUser
	}
	return durable.Call(ctx, a.all, (*users).Find, nameOrID)
}

// List returns users in the order of their names, at most limit, from the one after the
// name after on.
func (a *Accounts) List(ctx context.Context, after string, limit int) ([]User, error) {
	return durable.Call(ctx, a.all, (*users).List, listArgs{after, limit})
}

// ListRemoved returns removed users whose data has not been erased, in the order of
// names and ids, at most limit, from the one after the user after on.
func (a *Accounts) ListRemoved(ctx context.Context, after User, limit int) ([]User, error) {
	last := ""
	if after.ID != "" {
		last = after.Name + " " + after.ID
	}
	return durable.Call(ctx, a.all, (*users).ListRemoved, listArgs{last, limit})
}

// Verify checks what a user has given for a password: his token or the secret in it.
// Errors: ErrRefused, also for a user who was removed meanwhile.
func (a *Accounts) Verify(ctx context.Context, u User, password string) error {
	id, secret := splitToken(password)
	if id != "" && id != u.ID {
		return ErrRefused
	}
	ok, err := durable.Call(ctx, a.user(u.ID), (*user).Verify, hash(secret))
	if err != nil {
		return fmt.Errorf("verify secret: %w", err)
	}
	if !ok {
		return ErrRefused
	}
	return nil
}

// FindByToken returns the user that a token names. The secret in it has not been
// checked: that is [Accounts.Verify]. Error: ErrNoUser.
func (a *Accounts) FindByToken(ctx context.Context, token string) (User, error) {
	id, _ := splitToken(token)
	if !isID(id) {
		return User{}, ErrNoUser
	}
	return a.Find(ctx, id)
}

// Remove ends a user's access at once and forgets his secret and credential; settings
// and everything else of his stay until [Accounts.Erase]. A user who was removed before
// is removed again, in case that broke off. Errors: ErrNoUser, ErrAmbiguous.
func (a *Accounts) Remove(ctx context.Context, nameOrID string) (User, error) {
	u, _, err := a.RemoveTaking(ctx, nameOrID)
	return u, err
}

// RemoveTaking is [Accounts.Remove], and returns the credential that it forgot.
func (a *Accounts) RemoveTaking(ctx context.Context, nameOrID string) (User, Former, error) {
	if len(nameOrID) > MaxName {
		return User{}, Former{}, ErrNoUser
	}
	u, err := durable.Call(ctx, a.all, (*users).Leave, nameOrID)
	if err != nil {
		return User{}, Former{}, err
	}
	sealed, err := durable.Call0(ctx, a.user(u.ID), (*user).Revoke)
	if err != nil {
		return u, Former{}, fmt.Errorf("remove user: %w", err)
	}
	return u, a.former(u.ID, sealed), nil
}

// Erase deletes what is left of a removed user here; what others keep of his has to be
// gone before, as nobody knows of it afterwards. Errors: ErrNoUser, ErrNotRemoved.
func (a *Accounts) Erase(ctx context.Context, id string) error {
	if _, err := a.Find(ctx, id); !errors.Is(err, ErrNoUser) {
		if err == nil {
			err = ErrNotRemoved
		}
		return err
	}
	if _, err := durable.Call(ctx, a.all, (*users).FindRemoved, id); err != nil {
		return err
	}
	if err := durable.Exec0(ctx, a.user(id), (*user).Erase); err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	return durable.Exec(ctx, a.all, (*users).Forget, id)
}
