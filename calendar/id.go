package calendar

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/perdure/perdure/calendar/caldav"
)

// Ids name calendars and events towards callers. They are made of hrefs and found
// again by comparing them with those of what the server listed; no id ever becomes a
// part of a path.
//
// An id is the href's last name where that is short and plain: for a calendar of the
// user's first home set "personal", for an event "4f1c9a" of 4f1c9a.ics. Else it is
// "h." with the base64url of what it stands for, which no plain name begins with.
// Both are stable as long as the server keeps the href, and match ^[a-zA-Z0-9_.-]+$.

const encodedID = "h."

// CalendarID returns the id of the calendar at an href, as package caldav spells it; set is the
// user's first home set. It is for who hears of a change on the server's side.
func CalendarID(set, href string) string { return calendarID(set, href) }

// EventID returns the id of the event that is the object at an href.
func EventID(href string) string { return eventID(href) }

// calendarID returns the id of the calendar at href; set is the first home set.
func calendarID(set, href string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(href, set), "/")
	if set != "" && strings.HasPrefix(href, set) && isPlainID(name) {
		return name
	}
	return encodedID + base64.RawURLEncoding.EncodeToString([]byte(href))
}

// eventID returns the id of the object at href within its calendar.
func eventID(href string) string {
	name := lastName(href)
	if stem, ok := strings.CutSuffix(name, ".ics"); ok && isPlainID(stem) {
		return stem
	}
	return encodedID + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// lastName is the last segment of a canonical href, escapes and all.
func lastName(href string) string {
	href = strings.TrimSuffix(href, "/")
	return href[strings.LastIndexByte(href, '/')+1:]
}

// plainName is the last segment of an href as a person reads it.
func plainName(href string) string {
	name := lastName(href)
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// isPlainID allows no dot, so that no name is taken for an encoded one.
func isPlainID(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= 128
}

// memberHref is where a new object with a name made here goes.
func memberHref(collection, name string) string { return caldav.Join(collection, name+".ics") }
