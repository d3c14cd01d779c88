package calcache

import (
	"crypto/sha256"
	"fmt"
)

// maxPlainID is the longest id that is part of a key as it is. Two of them and
// what stands around them stay far below the limit of a key.
const maxPlainID = 256

// kind is what an entry holds; it is part of its key and of its record.
type kind string

const (
	calendars   kind = "c"
	events      kind = "e"
	preferences kind = "p"
)

// userPrefix begins the keys of all of a user's entries, and no others.
func userPrefix(user string) string { return "e" + plain(user) }

// entryKey returns the key of an entry; calendar counts for events only.
func entryKey(user string, k kind, calendar string) string {
	key := userPrefix(user) + string(k)
	if k == events {
		key += plain(calendar)
	}
	return key
}

// plain returns a form of id that is not too long and no prefix of that of another id.
func plain(id string) string {
	if len(id) > maxPlainID {
		return fmt.Sprintf("#%x", sha256.Sum256([]byte(id)))
	}
	return fmt.Sprintf("%d:%s", len(id), id)
}
