package accounts

import "errors"

// Errors that callers tell apart.
var (
	// ErrNoUser: there is no such user, or not any more.
	ErrNoUser = errors.New("accounts: no such user")

	// ErrNameTaken: another user has the name.
	ErrNameTaken = errors.New("accounts: the name is taken")

	// ErrInvalidName: a name that no user can have; see [CheckName].
	ErrInvalidName = errors.New("accounts: invalid name")

	// ErrAmbiguous: several removed users had the name; ids tell them apart.
	ErrAmbiguous = errors.New("accounts: several removed users had this name")

	// ErrNotRemoved: the data of a user who has not been removed is not erased.
	ErrNotRemoved = errors.New("accounts: the user has not been removed")

	// ErrRefused: the secret is not the user's.
	ErrRefused = errors.New("accounts: wrong secret")

	// ErrNoCredential: the user has no calendar server of his own.
	ErrNoCredential = errors.New("accounts: no credential")

	// ErrInvalid: a credential or settings that can't be kept.
	ErrInvalid = errors.New("accounts: invalid")

	// ErrKey: the key file is missing, wrong, or open to others, or a value was sealed under another key.
	ErrKey = errors.New("accounts: key")
)

// errChanged: the settings have another version. It never leaves the package.
var errChanged = errors.New("accounts: settings have changed")

// crossing are the errors that callers of the objects find with errors.Is.
var crossing = []error{ErrNoUser, ErrNameTaken, ErrAmbiguous, ErrNotRemoved, ErrNoCredential, ErrInvalid, errChanged}
