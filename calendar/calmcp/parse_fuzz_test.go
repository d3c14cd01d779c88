package calmcp

import (
	"net/url"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar"
)

// What is taken for a resource consists of what may be in one, and says the same again.
func FuzzParseURI(f *testing.F) {
	for _, uri := range []string{"calendar://calendars", "calendar://events?start=2026-01-01&end=2026-01-02", "calendar://calendars/a/events/b?recurrenceId=x",
		"calendar://calendars/a/events", "calendar://calendars/../x", "calendar://calendars/a%2Fb", "calendar://calendars?", "calendar://calendars/a/events?start=%ff;"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		r, ok := parseURI(uri)
		if !ok {
			return
		}
		built := map[string]string{"agenda": agendaURI, "calendars": calendarsURI, "calendar": calendarURI(r.calendarID),
			"events": eventsURI(r.calendarID), "event": eventURI(r.calendarID, r.eventID)}[r.kind]
		if path, _, _ := strings.Cut(uri, "?"); path != built {
			t.Fatalf("%q is taken for %q", uri, built)
		}
		if _, err := url.Parse(uri); err != nil && r.query.Encode() == "" {
			t.Fatalf("%q: %v", uri, err)
		}
	})
}

// A cursor is refused or belongs to the query; one that was made is read again.
func FuzzCursor(f *testing.F) {
	f.Add("eyJxIjoiIn0", "2026-01-01", "p")
	f.Add("", "\x00\xff", "\u202e")
	f.Fuzz(func(t *testing.T, cursor, start, place string) {
		b := bookmark{Query: fingerprint("alice", calendar.Query{Start: start})}
		if err := b.parse(cursor); err == nil && b.Query != fingerprint("alice", calendar.Query{Start: start}) {
			t.Fatalf("cursor %q of another query was taken", cursor)
		}
		if place == "" || len(start)+len(place) > 1000 {
			return
		}
		made := bookmark{Query: b.Query, Start: strings.ToValidUTF8(start, ""), Place: strings.ToValidUTF8(place, "x")}
		text, err := made.cursor()
		if err != nil {
			t.Fatal(err)
		}
		got := bookmark{Query: made.Query}
		if err := got.parse(text); err != nil || got != made {
			t.Fatalf("%+v came back as %+v, %v", made, got, err)
		}
	})
}
