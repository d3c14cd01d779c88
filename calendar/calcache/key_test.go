package calcache_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar/calcache"
)

// awkward are ids that look like parts of keys.
var awkward = []string{
	"", "a", "al", "alice", "a:b", "b:c", "1:a", "a1:b", "1:", ":", "e", "e1:a", "c", "p", "#", "#a", "default", "\x00", "a\x00",
	"\xff", "\xfe", "\u00e4", "a\u0308", "/", "a/b", "%2F", "12:", "e12:abc",
	strings.Repeat("a", 256), strings.Repeat("a", 257), strings.Repeat("a", 258), strings.Repeat("\xff", 300), strings.Repeat("x", 100_000),
}

// No two (user, calendar) pairs share a key, no other entry has the key of one,
// and a user's prefix is that of the user's own keys only.
func TestKeysAreDistinct(t *testing.T) {
	owner := map[string]string{} // of each key
	for _, user := range awkward {
		keys := calcache.OtherKeys(user)
		for _, calendar := range awkward {
			keys = append(keys, calcache.EntryKey(user, calendar))
		}
		for _, key := range keys {
			if other, taken := owner[key]; taken {
				t.Errorf("key %.60q of user %.20q is also one of %.20q", key, user, other)
			}
			owner[key] = user
			if len(key) > 1024 {
				t.Errorf("key of user %.20q is %d bytes long", user, len(key))
			}
		}
	}
	for _, user := range awkward {
		for key, owner := range owner {
			if got := strings.HasPrefix(key, calcache.UserPrefix(user)); got != (owner == user) {
				t.Errorf("prefix of user %.20q selects key %.60q of user %.20q: %v", user, key, owner, got)
			}
		}
	}
}

func TestRandomKeysAreDistinct(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	id := func() string {
		b := make([]byte, rnd.IntN(5))
		for i := range b {
			b[i] = "1:e#a\x00\xff"[rnd.IntN(7)]
		}
		return string(b)
	}
	type pair struct{ user, calendar string }
	seen := map[string]pair{}
	for range 20_000 {
		p := pair{id(), id()}
		key := calcache.EntryKey(p.user, p.calendar)
		if other, ok := seen[key]; ok && other != p {
			t.Fatalf("%q and %q share the key %q", p, other, key)
		}
		seen[key] = p
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("a", "b:c", "a:b", "c")
	f.Add("1:a", "b", "1", "a1:b")
	f.Add("\xff", "", "\xfe", "")
	f.Fuzz(func(t *testing.T, user, calendar, otherUser, otherCalendar string) {
		same := user == otherUser && calendar == otherCalendar
		if a, b := calcache.EntryKey(user, calendar), calcache.EntryKey(otherUser, otherCalendar); (a == b) != same {
			t.Errorf("keys %q and %q of (%q, %q) and (%q, %q)", a, b, user, calendar, otherUser, otherCalendar)
		}
		if got := strings.HasPrefix(calcache.EntryKey(user, calendar), calcache.UserPrefix(otherUser)); got != (user == otherUser) {
			t.Errorf("prefix of %q selects a key of %q: %v", otherUser, user, got)
		}
	})
}
