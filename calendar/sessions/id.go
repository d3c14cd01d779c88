package sessions

import (
	"crypto/rand"
	"strings"
)

// alphabet is what session ids consist of: 64 characters, none of which needs
// escaping in a URL or in JSON.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

const (
	idLength    = 21 // of the ids made here: 126 random bits
	maxIDLength = 128
)

func newID() string {
	var id [idLength]byte
	rand.Read(id[:]) // never fails
	for i, b := range id {
		id[i] = alphabet[b%64]
	}
	return string(id[:])
}

// validID reports whether a client may choose id. What is not valid names no session.
func validID(id string) bool {
	return 0 < len(id) && len(id) <= maxIDLength && strings.Trim(id, alphabet) == ""
}
