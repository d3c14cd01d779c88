package store_test

import (
	"strings"
	"testing"

	"github.com/perdure/perdure/store"
)

func TestPrefixEnd(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {"a", "b"}, {"a\xff", "b"}, {"\xff\xff", ""}, {"\xf0", "\xf1"}, {"a\xc3", "a\xc4"}, {"\x00", "\x01"}, {"ü\xff\xf0\xff", "ü\xff\xf1"},
	} {
		if got := store.PrefixEnd(c[0]); got != c[1] {
			t.Errorf("PrefixEnd(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func FuzzPrefixEnd(f *testing.F) {
	f.Add("a\xff", "b")
	f.Fuzz(func(t *testing.T, prefix, key string) {
		end := store.PrefixEnd(prefix)
		in := key >= prefix && (end == "" || key < end)
		if in != strings.HasPrefix(key, prefix) {
			t.Errorf("PrefixEnd(%q) = %q: %q is in the range: %v", prefix, end, key, in)
		}
	})
}
