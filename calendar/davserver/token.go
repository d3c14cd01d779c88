package davserver

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// A sync token names a calendar by its id, which no other calendar ever has, and a
// number of its change log. While a first listing is under way it also has
// the name up to which objects were told: that listing goes on from there and
// then tells what has changed since the number.
const tokenPrefix = "urn:perdure:sync:"

type syncToken struct {
	seq     uint64
	after   string
	partial bool
}

// token is the token of a calendar as it is now, and its ctag.
func (i *calendarInfo) token() string { return i.tokenOf(syncToken{seq: i.Record.Seq}) }

func (i *calendarInfo) tokenOf(t syncToken) string {
	out := tokenPrefix + i.ID[:16] + ":" + strconv.FormatUint(t.seq, 10)
	if t.partial {
		out += ":" + base64.RawURLEncoding.EncodeToString([]byte(t.after))
	}
	return out
}

// parseToken reads a token of this calendar. It returns errSyncToken.
func (i *calendarInfo) parseToken(text string) (t syncToken, err error) {
	rest, ok := strings.CutPrefix(text, tokenPrefix+i.ID[:16]+":")
	if !ok {
		return t, errSyncToken
	}
	seq, after, partial := strings.Cut(rest, ":")
	if t.seq, err = strconv.ParseUint(seq, 10, 64); err != nil || seq != strconv.FormatUint(t.seq, 10) {
		return t, errSyncToken
	}
	if partial {
		name, err := base64.RawURLEncoding.DecodeString(after)
		if err != nil || !validName(string(name)) {
			return t, errSyncToken
		}
		t.after, t.partial = string(name), true
	}
	if t.seq > i.Record.Seq || i.Record.Seq-t.seq > keepChanges {
		return t, errSyncToken
	}
	return t, nil
}
