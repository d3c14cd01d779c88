package calendar_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
)

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func xmlName(space, local string) xml.Name { return xml.Name{Space: space, Local: local} }

func TestFilters(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:a", "CATEGORIES:Work,Home", "X-ADHD-CATEGORY:focus", "X-ADHD-FOCUS-PRIORITY:7"))
	b.server.put("personal", "b.ics", event("b", ":20260311T090000Z", "SUMMARY:b", "CATEGORIES:Fun", "X-ADHD-FOCUS-PRIORITY:3"))
	b.server.put("personal", "bad.ics", "no calendar at all")
	b.server.put("personal", "todo.ics", strings.ReplaceAll(event("t", ":20260311T090000Z", "SUMMARY:t"), "VEVENT", "VTODO"))
	b.server.make("contact_birthdays")
	b.server.put("contact_birthdays", "x.ics", event("x", ";VALUE=DATE:20260310", "SUMMARY:birthday"))
	b.server.make("other")
	b.server.put("other", "o.ics", event("o", ":20260312T090000Z", "SUMMARY:o"))
	for _, tt := range []struct {
		q    calendar.Query
		want []string
	}{
		{calendar.Query{}, []string{"a", "b", "o"}},
		{calendar.Query{PriorityMinimum: 5}, []string{"a"}},
		{calendar.Query{ADHDCategory: "Focus"}, []string{"a"}},
		{calendar.Query{Tags: []string{"fun", "home"}}, []string{"a", "b"}},
		{calendar.Query{Calendars: []string{"contact_birthdays"}}, []string{"birthday"}},
		{calendar.Query{Calendars: []string{"other", "personal", "other"}}, []string{"a", "b", "o"}},
		{calendar.Query{Start: "2026-03-11", End: "2026-03-11"}, []string{"b"}},
		{calendar.Query{Start: "2026-03-10T09:00:00Z", End: "2026-03-11T09:00:00Z"}, []string{"a"}},
		{calendar.Query{Limit: 1}, []string{"a"}},
	} {
		if tt.q.Start == "" {
			tt.q.Start, tt.q.End = year.Start, year.End
		}
		if diff := cmp.Diff(tt.want, titles(b.list(t, tt.q).Events)); diff != "" {
			t.Errorf("ListEvents(%+v) (-want +got):\n%s", tt.q, diff)
		}
	}
	if _, err := b.ChangeSettings(t.Context(), calendar.SettingsChange{HiddenCalendars: calendar.To([]string{"other"})}); err != nil {
		t.Fatal(err)
	}
	b.wantTitles(t, "with a hidden calendar", "a", "b")
	for _, q := range []calendar.Query{{Limit: 501}, {Start: "x"}, {Start: "2026-02-01", End: "2026-01-01"}, {Cursor: "!"}, {TimeZone: "x/y"}, {PriorityMinimum: 11}, {Start: "1900-01-01", End: "2000-01-01"}} {
		if _, err := b.ListEvents(t.Context(), q); !errors.Is(err, calendar.ErrInvalid) {
			t.Errorf("ListEvents(%+v) = %v, want ErrInvalid", q, err)
		}
	}
}

func TestSeriesAsWritten(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "w.ics", weekly)
	q := year
	q.Series = true
	got := b.list(t, q)
	if len(got.Events) != 1 || got.Events[0].RecurrenceID != "" || got.Events[0].SeriesID != "w" || got.Events[0].Recurrence == nil ||
		got.Events[0].Recurrence.Until != "2026-04-27T07:00:00Z" || !cmp.Equal(got.Events[0].Recurrence.ExDates, []string{"2026-03-09T08:00:00Z"}) {
		t.Errorf("series %+v", got.Events)
	}
}

// Pages of any size together are the whole list, in order, each event once.
func TestPages(t *testing.T) {
	b := newTestbed(t, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		start := time.Date(2026, 3, 1, r.IntN(24), 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(40))
		lines := []string{fmt.Sprintf("SUMMARY:e%d", i), "DTEND:" + start.Add(time.Duration(r.IntN(100))*time.Hour).Format("20060102T150405Z")}
		at := ":" + start.Format("20060102T150405Z")
		switch i % 5 {
		case 0:
			lines = append(lines, "RRULE:FREQ=DAILY;COUNT=5")
		case 1:
			at, lines = ";VALUE=DATE:"+start.Format("20060102"), lines[:1]
		case 2:
			at = ":20260310T090000Z" // many at once
		}
		b.server.put("personal", fmt.Sprintf("e%d.ics", i), event(fmt.Sprint(i), at, lines...))
	}
	q := calendar.Query{Start: "2026-03-05", End: "2026-04-20", Limit: 500}
	whole := b.list(t, q).Events
	if !slices.IsSortedFunc(whole, func(a, b calendar.Event) int { return a.Start.Time.Compare(b.Start.Time) }) || len(whole) < 60 {
		t.Fatalf("%d events, or not sorted", len(whole))
	}
	for _, pages := range []struct{ limit, cut int }{{1, 1}, {7, 7}, {100, 100}, {100, 3}, {7, 8}} {
		limit := pages.limit
		var all []calendar.Event
		q.Limit, q.Cursor = limit, ""
		for {
			page := b.list(t, q)
			page.Cut(0)
			if page.Cut(pages.cut); len(page.Events) > min(limit, pages.cut) {
				t.Fatalf("a page of %d cut to %d has %d events", limit, pages.cut, len(page.Events))
			}
			all = append(all, page.Events...)
			if q.Cursor = page.Cursor; q.Cursor == "" || len(all) > 1000 {
				break
			}
		}
		if diff := cmp.Diff(whole, all); diff != "" {
			t.Errorf("pages of %v (-whole +pages):\n%s", pages, diff)
		}
	}
}

func TestBoundedSeries(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "s.ics", event("s", ":19700101T000000Z", "SUMMARY:s", "RRULE:FREQ=SECONDLY"))
	b.server.put("personal", "a.ics", simple("a"))
	q := year
	q.Limit = 5
	got := b.list(t, q)
	if len(got.Events) != 5 || !got.Truncated || got.Cursor == "" {
		t.Errorf("%d events, truncated %v", len(got.Events), got.Truncated)
	}
}
