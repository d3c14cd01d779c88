package calmcp_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/calmcp"
)

const march = `"start":"2026-03-01","end":"2026-03-31"`

// pages reads all pages and checks each one's size.
func (cl *client) pages(args string) (events []shownEvent, pages int) {
	cl.t.Helper()
	cursor := ""
	for {
		a := args
		if cursor != "" {
			a += `,"cursor":"` + cursor + `"`
		}
		page := cl.ok("listEvents", "{"+a+"}")
		if len(page.text) > 64<<10 {
			cl.t.Errorf("a page of %d bytes", len(page.text))
		}
		if len(page.Events) == 0 && page.Cursor != "" {
			cl.t.Fatal("an empty page with a cursor")
		}
		events = append(events, page.Events...)
		if pages++; page.Cursor == "" || pages > 1000 {
			return events, pages
		}
		cursor = page.Cursor
	}
}

func (b *bed) fill(n int, lines ...string) {
	for i := range n {
		b.put("alice", "personal", fmt.Sprintf("e%03d.ics", i), ics(append([]string{fmt.Sprintf("UID:e%03d", i),
			fmt.Sprintf("DTSTART:202603%02dT%02d0000Z", 1+i%28, i%24), fmt.Sprintf("SUMMARY:event %d", i)}, lines...)...))
	}
}

func TestPages(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.fill(230)
	cl := b.connect(calmcp.Caller{User: "alice"})
	first := cl.ok("listEvents", "{"+march+"}")
	if len(first.Events) != 100 || first.Cursor == "" {
		t.Fatalf("the first page has %d events, cursor %q", len(first.Events), first.Cursor)
	}
	all, n := cl.pages(march)
	if len(all) != 230 || n != 3 {
		t.Errorf("%d events on %d pages, want 230 on 3", len(all), n)
	}
	for _, limit := range []int{3, 50, 500} {
		got, n := cl.pages(fmt.Sprintf(`%s,"limit":%d`, march, limit))
		if diff := cmp.Diff(all, got); diff != "" || n > 230/min(limit, 150)+2 {
			t.Errorf("%d pages of %d (-100 +%d):\n%s", n, limit, limit, diff)
		}
	}
}

// Pages of series, of several calendars and of filtered events miss nothing either.
func TestPagesOfSeries(t *testing.T) {
	b := newBed(t)
	for _, cal := range []string{"personal", "work"} {
		b.mkcalendar("alice", cal)
		for i := range 6 {
			b.put("alice", cal, fmt.Sprintf("s%d.ics", i), ics(fmt.Sprintf("UID:%s-%d", cal, i), fmt.Sprintf("DTSTART:202603%02dT090000Z", 1+i/2),
				"RRULE:FREQ=DAILY;COUNT=12", "CATEGORIES:"+[]string{"even", "odd"}[i%2], "SUMMARY:same", "DESCRIPTION:"+strings.Repeat("x", 900)))
		}
	}
	cl := b.connect(calmcp.Caller{User: "alice"})
	for _, tt := range []struct {
		args string
		want int
	}{
		{march, 144}, {march + `,"limit":500`, 144}, {march + `,"limit":7`, 144}, {march + `,"tags":["ODD"]`, 72},
		{march + `,"expandRecurring":false`, 12}, {march + `,"expandRecurring":false,"limit":5`, 12}, {march + `,"calendarId":"work","limit":50`, 72},
	} {
		all, pages := cl.pages(tt.args)
		seen := map[string]bool{}
		for _, e := range all {
			seen[e.CalendarID+e.ID+e.RecurrenceID] = true
		}
		if len(all) != tt.want || len(seen) != tt.want || pages < 2 && tt.want > 100 {
			t.Errorf("%s: %d events, %d of them different, on %d pages, want %d", tt.args, len(all), len(seen), pages, tt.want)
		}
	}
}

// A page ends before its text is too long, and its cursor leads on exactly there.
func TestPagesOfLongTexts(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.fill(130, "DESCRIPTION:"+strings.Repeat("lang\\, \u202eü ", 400), "LOCATION:"+strings.Repeat("x", 700))
	cl := b.connect(calmcp.Caller{User: "alice"})
	all, n := cl.pages(march)
	if len(all) != 130 || n < 4 {
		t.Fatalf("%d events on %d pages", len(all), n)
	}
	seen := map[string]bool{}
	for _, e := range all {
		if seen[e.ID] {
			t.Errorf("%s is listed twice", e.ID)
		}
		seen[e.ID] = true
		if !strings.HasPrefix(e.Description, "lang, \u202eü") || len(e.Description) > 1000 || len(e.Description) < 990 || !utf8.ValidString(e.Description) ||
			cmp.Diff([]string{"description"}, e.Shortened) != "" {
			t.Fatalf("%s: description of %d bytes, shortened %q", e.ID, len(e.Description), e.Shortened)
		}
	}
	whole := cl.ok("getEventById", `{"calendarId":"personal","eventId":"e000"}`).Event
	if want := strings.Repeat("lang, \u202eü ", 400); whole.Description != want || whole.Shortened != nil {
		t.Errorf("the whole description has %d bytes, want %d; shortened %q", len(whole.Description), len(want), whole.Shortened)
	}
}

// One event may be larger than a page: it is shown, shortened, and the others follow.
func TestHugeEvent(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.fill(3)
	lines := []string{"UID:huge", "DTSTART:20260301T000000Z", "SUMMARY:" + strings.Repeat("huge ", 30_000), "CATEGORIES:" + strings.Repeat("c", 9000),
		"ORGANIZER;CN=" + strings.Repeat("o", 9000) + ":mailto:alice@example.org"}
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf("ATTENDEE;CN=%s:mailto:p%d@example.org", strings.Repeat("n", 100), i))
	}
	b.put("alice", "personal", "huge.ics", ics(lines...))
	cl := b.connect(calmcp.Caller{User: "alice"})
	all, _ := cl.pages(march)
	if len(all) != 4 {
		t.Fatalf("%d events, want 4", len(all))
	}
	for _, e := range all {
		if e.ID != "huge" {
			if e.Shortened != nil {
				t.Errorf("%s is shortened: %q", e.ID, e.Shortened)
			}
			continue
		}
		want := []string{"title", "organizer", "participants", "categories"}
		if diff := cmp.Diff(want, e.Shortened); diff != "" || !strings.HasPrefix(e.Title, "huge huge") || len(e.Participants) < 10 || e.Participants[9].Email != "p9@example.org" {
			t.Errorf("shortened (-want +got):\n%s; %d participants", diff, len(e.Participants))
		}
	}
	got := cl.ok("getEventById", `{"calendarId":"personal","eventId":"huge"}`)
	if len(got.text) > 260<<10 || got.Event.Shortened == nil || len(got.Event.Participants) < 100 {
		t.Errorf("the event in full has %d bytes, %d participants, shortened %q", len(got.text), len(got.Event.Participants), got.Event.Shortened)
	}
}

// A cursor outlives restarts and stays within the range of its first page; it belongs to
// one user and one query.
func TestCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.mkcalendar("alice", "personal")
		for i, day := range []string{"19990701", "19991201", "20000102", "20000630", "20000703"} {
			b.put("alice", "personal", fmt.Sprintf("e%d.ics", i), ics(fmt.Sprintf("UID:e%d", i), "DTSTART;VALUE=DATE:"+day, "SUMMARY:"+day))
		}
		cl := b.connect(calmcp.Caller{User: "alice"})
		page := cl.ok("listEvents", `{"limit":1}`)
		got := page.titles()
		b.rt.Crash()
		b.open()
		time.Sleep(10 * 24 * time.Hour) // the default range would have moved to July
		cl = b.connect(calmcp.Caller{User: "alice"})
		for page.Cursor != "" {
			page = cl.ok("listEvents", `{"limit":2,"cursor":"`+page.Cursor+`"}`)
			got = append(got, page.titles()...)
		}
		if diff := cmp.Diff([]string{"19990701", "19991201", "20000102", "20000630"}, got); diff != "" {
			t.Errorf("titles (-want +got):\n%s", diff)
		}

		cursor := cl.ok("listEvents", `{"limit":1,"tags":[],"start":"1999-01-01","end":"2001-01-01"}`).Cursor
		with := func(args string) string {
			return `{"start":"1999-01-01","end":"2001-01-01"` + args + `,"cursor":"` + cursor + `"}`
		}
		cl.ok("listEvents", with(`,"limit":7`))
		for _, args := range []string{`,"tags":["x"]`, `,"calendarId":"personal"`, `,"timeZone":"Europe/Vienna"`, `,"expandRecurring":false`, `,"adhdCategory":"focus"`, `,"priorityMinimum":2`, `,"end":"2001-01-02"`} {
			if text := cl.fails("listEvents", with(args)); !strings.Contains(text, "cursor: ") || !strings.Contains(text, "same ones") {
				t.Errorf("%s: %s", args, text)
			}
		}
		if text := cl.fails("listEvents", `{"cursor":"`+cursor+`"}`); !strings.Contains(text, "cursor: ") {
			t.Errorf("a cursor alone: %s", text)
		}
		for _, bad := range []string{"x", "e30", "bnVsbA", cursor[:20], cursor + "AAAA", strings.Repeat("A", 10_000), "eyJxIjoiIn0"} {
			if text := cl.fails("listEvents", `{"start":"1999-01-01","end":"2001-01-01","cursor":"`+bad+`"}`); !strings.Contains(text, "cursor: ") || len(text) > 600 {
				t.Errorf("cursor %.30s: %s", bad, text)
			}
		}
	})
}

// An answer from the last copy says so, and how old it is.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.mkcalendar("alice", "personal")
		b.fill(1)
		cl := b.connect(calmcp.Caller{User: "alice"})
		args := `{"start":"2026-03-01"}`
		if got := cl.ok("listEvents", args); got.Stale || got.AgeSeconds != 0 {
			t.Errorf("fresh: stale %v, %d s", got.Stale, got.AgeSeconds)
		}
		b.set(func() { b.down = true })
		time.Sleep(10 * time.Minute)
		for _, tool := range []string{"listEvents", "listCalendars", "getEventById"} {
			a := args
			if tool == "getEventById" {
				a = `{"calendarId":"personal","eventId":"e000"}`
			}
			if got := cl.ok(tool, a); !got.Stale || got.AgeSeconds < 600 || got.AgeSeconds > 700 {
				t.Errorf("%s: stale %v, %d s, want 10 minutes", tool, got.Stale, got.AgeSeconds)
			}
		}
		if text := cl.fails("createEvent", `{"title":"x","start":"2026-01-01"}`); !strings.HasPrefix(text, "Failed to create event: An unexpected error occurred.") {
			t.Error(text)
		}
		if log := b.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "connection refused") {
			t.Errorf("the log does not say why the calendar server gave no answer:\n%s", log)
		}
	})
}

// Who shares a calendar chooses what it is called.
func TestLongNames(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.dodav("alice", "PROPPATCH", "personal/", "application/xml", `<propertyupdate xmlns="DAV:"><set><prop><displayname>`+strings.Repeat("name ", 5000)+`</displayname></prop></set></propertyupdate>`)
	cl := b.connect(calmcp.Caller{User: "alice"})
	got := cl.ok("listCalendars", "")
	if n := len(got.Calendars[0].DisplayName); n != 1000 || len(got.text) > 3000 || !strings.Contains(got.text, `"shortened": [`) {
		t.Errorf("a name of %d bytes:\n%.2000s", n, got.text)
	}
}
