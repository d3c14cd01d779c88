package accounts

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
)

// Me is the id, and the name, of the single user of a program without users.
const Me = "me"

// MaxName is the longest name, in bytes.
const MaxName = 64

// CheckName returns an error that is [ErrInvalidName] and says what is wrong, if name
// can't be a user's: 1 to 64 of a-z, 0-9 and . _ @ -, beginning with a letter or digit.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %d characters, at most %d", ErrInvalidName, len(name), MaxName)
	case name == Me:
		return fmt.Errorf("%w: %s is the single user of a program without users", ErrInvalidName, Me)
	case isID(name):
		return fmt.Errorf("%w: it looks like an id", ErrInvalidName)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._@-", r)) {
			return fmt.Errorf("%w: letters a-z, digits and . _ @ - only, a letter or digit first", ErrInvalidName)
		}
	}
	return nil
}

const idPrefix = "u_"

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID returns an id: 128 random bits, in characters that paths and a secret's text
// before its dot can hold.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return idPrefix + idEncoding.EncodeToString(b[:])
}

// isID says whether text has the form of an id. No name has.
func isID(text string) bool {
	rest, ok := strings.CutPrefix(text, idPrefix)
	if !ok || len(rest) != idEncoding.EncodedLen(16) {
		return false
	}
	_, err := idEncoding.DecodeString(rest)
	return err == nil
}
