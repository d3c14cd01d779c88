package calendar_test

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
)

// odd is an event full of things that this program knows nothing about.
const odd = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//odd//odd//EN\r\nX-WR-CALNAME;X-P=\"a;b\":odd\r\nBEGIN:VEVENT\r\n" +
	"UID:odd\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;X-SRC=1;TZID=\"/odd.example/Europe/Vienna\":20260310T090000\r\nDURATION:PT45M\r\n" +
	"SUMMARY;LANGUAGE=de:Zahn\\,arzt\r\nX-UNKNOWN;X-B=2;X-A=\"1,2\":a\\;b\r\nATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY:\r\n  aGVsbG8=\r\n" +
	"ORGANIZER;CN=Alice:mailto:alice@example.org\r\nATTENDEE;X-NUM=1;PARTSTAT=ACCEPTED;CN=\"Bob, B.\":mailto:bob@example.org\r\nATTENDEE;PARTSTAT=DECLINED:mailto:carol@example.org\r\n" +
	"BEGIN:VALARM\r\nACTION:AUDIO\r\nTRIGGER:-PT5M\r\nX-SOUND:ding\r\nEND:VALARM\r\nBEGIN:X-THING\r\nX-K:v\r\nEND:X-THING\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

// changedLines returns the lines of b that a has not, and those of a that b has not.
func changedLines(a, b string) (added, removed []string) {
	minus := func(x, y string) []string {
		left := strings.Split(y, "\r\n")
		var out []string
		for line := range strings.SplitSeq(x, "\r\n") {
			found := false
			for i, l := range left {
				if l == line {
					left, found = append(left[:i:i], left[i+1:]...), true
					break
				}
			}
			if !found {
				out = append(out, line)
			}
		}
		return out
	}
	return minus(b, a), minus(a, b)
}

func (b *testbed) update(t testing.TB, id string, c calendar.EventChange, how calendar.Edit) calendar.Result {
	t.Helper()
	r, err := b.UpdateEvent(t.Context(), "personal", id, c, how)
	if err != nil {
		t.Fatalf("UpdateEvent(%s): %v", id, err)
	}
	return r
}

// withoutStamps drops the lines that every change sets.
func withoutStamps(lines []string) []string {
	var out []string
	for _, l := range lines {
		if !strings.HasPrefix(l, "DTSTAMP") && !strings.HasPrefix(l, "LAST-MODIFIED") {
			out = append(out, l)
		}
	}
	return out
}

// withoutTimezone drops the VTIMEZONE that every change adds where it is missing.
func withoutTimezone(raw string) string {
	const end = "END:VTIMEZONE\r\n"
	from, to := strings.Index(raw, "BEGIN:VTIMEZONE"), strings.Index(raw, end)
	if from < 0 || to < from {
		return raw
	}
	return raw[:from] + raw[to+len(end):]
}

func TestOnlyWhatWasAskedForChanges(t *testing.T) {
	for _, tt := range []struct {
		name           string
		change         calendar.EventChange
		added, removed []string
	}{
		{"title", calendar.EventChange{Title: calendar.To("Arzt")}, []string{"SUMMARY;LANGUAGE=de:Arzt"}, []string{`SUMMARY;LANGUAGE=de:Zahn\,arzt`}},
		{"start", calendar.EventChange{Start: calendar.To("2026-03-10T11:00"), TimeZone: calendar.To("Europe/Vienna")},
			[]string{"SEQUENCE:1", "DTSTART;X-SRC=1;TZID=Europe/Vienna:20260310T110000"}, []string{`DTSTART;X-SRC=1;TZID="/odd.example/Europe/Vienna":20260310T090000`}},
		{"same zone", calendar.EventChange{Start: calendar.To("2026-03-10T10:00:00Z")},
			[]string{"SEQUENCE:1", `DTSTART;X-SRC=1;TZID="/odd.example/Europe/Vienna":20260310T110000`}, []string{`DTSTART;X-SRC=1;TZID="/odd.example/Europe/Vienna":20260310T090000`}},
		{"end", calendar.EventChange{End: calendar.To("2026-03-10T10:00:00Z")},
			[]string{"SEQUENCE:1", `DTEND;TZID=/odd.example/Europe/Vienna:20260310T110000`}, []string{"DURATION:PT45M"}},
		{"place", calendar.EventChange{Location: calendar.To("Linz")}, []string{"SEQUENCE:1", "LOCATION:Linz"}, nil},
		{"the same reminder", calendar.EventChange{Reminders: calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: 5}})}, nil, nil},
		{"participants", calendar.EventChange{Participants: calendar.To([]calendar.Participant{{Email: "BOB@example.org", Status: "needs-action"}, {Email: "dan@example.org", Role: "optional"}})},
			[]string{"ATTENDEE;CUTYPE=INDIVIDUAL;ROLE=OPT-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=", " TRUE:mailto:dan@example.org"}, []string{"ATTENDEE;PARTSTAT=DECLINED:mailto:carol@example.org"}},
		{"color", calendar.EventChange{Color: calendar.To("#4682b5")}, []string{"COLOR:steelblue", "X-APPLE-CALENDAR-COLOR:#4682b5"}, nil},
		{"status", calendar.EventChange{Status: calendar.To("Tentative"), Visibility: calendar.To("private"), Availability: calendar.To("free")},
			[]string{"STATUS:TENTATIVE", "CLASS:PRIVATE", "TRANSP:TRANSPARENT"}, nil},
		{"to all-day", calendar.EventChange{IsAllDay: calendar.To(true)}, []string{"SEQUENCE:1", "DTEND;VALUE=DATE:20260311", "DTSTART;X-SRC=1;VALUE=DATE:20260310"},
			[]string{"DURATION:PT45M", `DTSTART;X-SRC=1;TZID="/odd.example/Europe/Vienna":20260310T090000`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			b.server.put("personal", "odd.ics", odd)
			b.update(t, "odd", tt.change, calendar.Edit{})
			raw := withoutTimezone(b.server.data("personal", "odd.ics"))
			added, removed := changedLines(odd, raw)
			sortStrings := cmp.Transformer("sort", func(in []string) map[string]int {
				out := map[string]int{}
				for _, s := range in {
					out[s]++
				}
				return out
			})
			if diff := cmp.Diff(tt.added, withoutStamps(added), sortStrings); diff != "" {
				t.Errorf("added lines (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.removed, withoutStamps(removed), sortStrings); diff != "" {
				t.Errorf("removed lines (-want +got):\n%s", diff)
			}
			stamped := len(tt.added)+len(tt.removed) > 0
			if got := strings.Contains(raw, "LAST-MODIFIED") && !strings.Contains(raw, "DTSTAMP:20260101T000000Z"); got != stamped {
				t.Errorf("stamped %v, want %v:\n%s", got, stamped, raw)
			}
		})
	}
}

func TestClearing(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "odd.ics", odd)
	b.update(t, "odd", calendar.EventChange{
		Description: calendar.To("text"), Location: calendar.To("x"), Categories: calendar.To([]string{"a", "b,c"}), Focus: calendar.To(3),
		Energy: calendar.To(5), ADHDCategory: calendar.To("focus"), Color: calendar.To("red"), RelatedTasks: calendar.To([]string{"t1", "t2"}),
		Recurrence: calendar.To(&calendar.Recurrence{Frequency: "daily", Count: 3}), Status: calendar.To("confirmed"),
	}, calendar.Edit{})
	full, err := b.GetEvent(t.Context(), "personal", "odd", "")
	if err != nil {
		t.Fatal(err)
	}
	e := full.Event
	if e.Description != "text" || !cmp.Equal(e.Categories, []string{"a", "b,c"}) || e.Focus != 3 || e.Energy != 5 || e.Color != "red" ||
		!cmp.Equal(e.RelatedTasks, []string{"t1", "t2"}) || e.Recurrence == nil || e.Recurrence.Count != 3 || e.Status != "confirmed" || full.Scope != "series" {
		t.Errorf("set: %+v", e)
	}
	b.update(t, "odd", calendar.EventChange{
		Description: calendar.To(""), Location: calendar.To(""), Categories: calendar.To[[]string](nil), Focus: calendar.To(0),
		Energy: calendar.To(0), ADHDCategory: calendar.To(""), Color: calendar.To(""), RelatedTasks: calendar.To([]string{}),
		Recurrence: calendar.To[*calendar.Recurrence](nil), Status: calendar.To(""),
	}, calendar.Edit{})
	added, removed := changedLines(odd, withoutTimezone(b.server.data("personal", "odd.ics")))
	if diff := cmp.Diff([]string{"SEQUENCE:2"}, withoutStamps(added)); diff != "" || len(withoutStamps(removed)) > 0 {
		t.Errorf("what is left after clearing (-want +got):\n%s; lost %q", diff, removed)
	}
}

func TestConflicts(t *testing.T) {
	theirs := strings.Replace(odd, "Zahn\\,arzt", "Theirs", 1)
	for _, tt := range []struct {
		name   string
		server string // what another client stored since we read
		change calendar.EventChange
		etag   bool // the caller sends the one he read
		want   error
	}{
		{"another field changed", theirs, calendar.EventChange{Location: calendar.To("Linz")}, false, nil},
		{"the same field changed", theirs, calendar.EventChange{Title: calendar.To("Ours")}, false, calendar.ErrConflict},
		{"the same field to the same", theirs, calendar.EventChange{Title: calendar.To("Theirs")}, false, nil},
		{"another field, with the old etag", theirs, calendar.EventChange{Location: calendar.To("Linz")}, true, calendar.ErrConflict},
		{"unchanged, with its etag", "", calendar.EventChange{Title: calendar.To("Ours")}, true, nil},
		{"an answer came in", strings.Replace(odd, "PARTSTAT=DECLINED", "PARTSTAT=ACCEPTED", 1),
			calendar.EventChange{Participants: calendar.To([]calendar.Participant{{Email: "carol@example.org"}})}, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			b.server.put("personal", "odd.ics", odd)
			page := b.list(t, year)
			how := calendar.Edit{}
			if tt.etag {
				how.ETag = page.Events[0].ETag
			}
			if tt.server != "" {
				b.server.put("personal", "odd.ics", tt.server)
			}
			before := b.server.data("personal", "odd.ics")
			_, err := b.UpdateEvent(t.Context(), "personal", "odd", tt.change, how)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("UpdateEvent = %v, want %v", err, tt.want)
			}
			if now := b.server.data("personal", "odd.ics"); tt.want != nil && now != before {
				t.Errorf("a conflict wrote:\n%s", now)
			} else if tt.name == "an answer came in" && !strings.Contains(now, "PARTSTAT=ACCEPTED:mailto:carol") {
				t.Errorf("the answer was lost:\n%s", now)
			}
		})
	}
}

// A 412 is tried once more, on the object as it is then.
func TestPreconditionFailed(t *testing.T) {
	for _, times := range []int{1, 2} {
		b := newTestbed(t, nil)
		b.server.put("personal", "odd.ics", odd)
		b.list(t, year)
		left := times
		b.server.before = func(method, path string) {
			if method == "PUT" && left > 0 {
				left--
				b.server.put("personal", "odd.ics", strings.Replace(odd, "X-K:v", "X-K:changed"+strings.Repeat("!", left), 1))
			}
		}
		_, err := b.UpdateEvent(t.Context(), "personal", "odd", calendar.EventChange{Title: calendar.To("Ours")}, calendar.Edit{})
		now := b.server.data("personal", "odd.ics")
		if times == 1 && (err != nil || !strings.Contains(now, "X-K:changed") || !strings.Contains(now, "LANGUAGE=de:Ours")) {
			t.Errorf("after one 412: %v\n%s", err, now)
		}
		if times == 2 && !errors.Is(err, calendar.ErrConflict) {
			t.Errorf("after two 412s: %v", err)
		}
	}
}

const weekly = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:w\r\nDTSTAMP:20260101T000000Z\r\nSEQUENCE:4\r\n" +
	"DTSTART;TZID=Europe/Vienna:20260302T090000\r\nDTEND;TZID=Europe/Vienna:20260302T100000\r\nSUMMARY:Standup\r\nX-KEEP:1\r\n" +
	"RRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20260427T070000Z\r\nEXDATE;TZID=Europe/Vienna:20260309T090000\r\n" +
	"BEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:x\r\nTRIGGER:-PT10M\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

func starts(events []calendar.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Start.String()[:16]+" "+e.Title)
	}
	return out
}

func (b *testbed) wantStarts(t testing.TB, what string, want ...string) calendar.Events {
	t.Helper()
	got := b.list(t, year)
	if diff := cmp.Diff(want, starts(got.Events)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	return got
}

func TestOccurrences(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "w.ics", weekly)
	page := b.wantStarts(t, "before", "2026-03-02T08:00 Standup", "2026-03-16T08:00 Standup", "2026-03-23T08:00 Standup", "2026-03-30T07:00 Standup",
		"2026-04-06T07:00 Standup", "2026-04-13T07:00 Standup", "2026-04-20T07:00 Standup", "2026-04-27T07:00 Standup")
	third := page.Events[2]
	if third.RecurrenceID != "2026-03-23T08:00:00Z" || third.SeriesID != "w" || third.ID != "w" || third.TimeZone != "Europe/Vienna" {
		t.Errorf("occurrence %+v", third)
	}

	r := b.update(t, "w", calendar.EventChange{Start: calendar.To("2026-03-24T10:00"), TimeZone: calendar.To("Europe/Vienna"), Title: calendar.To("Moved")}, calendar.Edit{RecurrenceID: third.RecurrenceID})
	if r.Scope != "occurrence" || r.Event.RecurrenceID != third.RecurrenceID || r.Event.End.String() != "2026-03-24T10:00:00.000Z" {
		t.Errorf("occurrence updated: %+v", r)
	}
	raw := b.server.data("personal", "w.ics")
	if !strings.Contains(raw, "RECURRENCE-ID;TZID=Europe/Vienna:20260323T090000") || strings.Count(raw, "X-KEEP:1") != 2 ||
		strings.Count(raw, "SEQUENCE:4") != 1 || strings.Count(raw, "SEQUENCE:5") != 1 || strings.Count(raw, "BEGIN:VALARM") != 2 {
		t.Errorf("override:\n%s", raw)
	}
	// Again: the same override.
	b.update(t, "w", calendar.EventChange{Title: calendar.To("Moved 2")}, calendar.Edit{RecurrenceID: third.RecurrenceID})
	if raw := b.server.data("personal", "w.ics"); strings.Count(raw, "BEGIN:VEVENT") != 2 || strings.Count(raw, "SEQUENCE:5") != 1 {
		t.Errorf("second change of the override:\n%s", raw)
	}
	if _, err := b.DeleteEvent(t.Context(), "personal", "w", calendar.Edit{RecurrenceID: "2026-03-16T08:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	b.wantStarts(t, "after both", "2026-03-02T08:00 Standup", "2026-03-24T09:00 Moved 2", "2026-03-30T07:00 Standup",
		"2026-04-06T07:00 Standup", "2026-04-13T07:00 Standup", "2026-04-20T07:00 Standup", "2026-04-27T07:00 Standup")

	// The series two hours later and on Tuesdays: exceptions, the override and the rule follow.
	r = b.update(t, "w", calendar.EventChange{Start: calendar.To("2026-03-03T11:00"), TimeZone: calendar.To("Europe/Vienna")}, calendar.Edit{})
	if r.Scope != "series" {
		t.Errorf("scope %q", r.Scope)
	}
	b.wantStarts(t, "the series moved", "2026-03-03T10:00 Standup", "2026-03-24T09:00 Moved 2", "2026-03-31T09:00 Standup",
		"2026-04-07T09:00 Standup", "2026-04-14T09:00 Standup", "2026-04-21T09:00 Standup", "2026-04-28T09:00 Standup")
	raw = b.server.data("personal", "w.ics")
	for _, want := range []string{"BYDAY=TU", "UNTIL=20260428T090000Z", "20260310T110000", "RECURRENCE-ID;TZID=Europe/Vienna:20260324T110000"} {
		if !strings.Contains(raw, want) {
			t.Errorf("moved series lacks %q:\n%s", want, raw)
		}
	}

	// The override goes with its occurrence; the rest of the series stays.
	if _, err := b.DeleteEvent(t.Context(), "personal", "w", calendar.Edit{RecurrenceID: "2026-03-24T10:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	b.update(t, "w", calendar.EventChange{Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", ByDay: []string{"TU"}, Until: "2026-04-07"})}, calendar.Edit{})
	b.wantStarts(t, "a shorter rule", "2026-03-03T10:00 Standup", "2026-03-31T09:00 Standup", "2026-04-07T09:00 Standup")
	for _, id := range []string{"2026-03-03T10:00:00Z", "2026-03-31T09:00:00Z", "2026-04-07T09:00:00Z"} {
		if _, err := b.DeleteEvent(t.Context(), "personal", "w", calendar.Edit{RecurrenceID: id}); err != nil {
			t.Fatalf("DeleteEvent(%s): %v", id, err)
		}
	}
	if names := b.server.names("personal"); len(names) != 0 {
		t.Errorf("after its last occurrence the series is still there: %q\n%s", names, b.server.data("personal", "w.ics"))
	}
}

func TestSeriesChanges(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change calendar.EventChange
		want   []string
	}{
		{"all-day", calendar.EventChange{Start: calendar.To("2026-03-02"), Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 3})},
			[]string{"2026-03-02 Standup", "2026-03-16 Standup"}},
		{"no rule", calendar.EventChange{Recurrence: calendar.To[*calendar.Recurrence](nil)}, []string{"2026-03-02T08:00 Standup"}},
		{"exDates", calendar.EventChange{Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 4, ExDates: []string{"2026-03-16"}})},
			[]string{"2026-03-02T08:00 Standup", "2026-03-09T08:00 Standup", "2026-03-23T08:00 Standup"}},
		{"local exDates", calendar.EventChange{TimeZone: calendar.To("Asia/Tokyo"), Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 4, ExDates: []string{"2026-03-16T17:00"}})},
			[]string{"2026-03-02T08:00 Standup", "2026-03-09T08:00 Standup", "2026-03-23T08:00 Standup"}},
		{"bySetPos", calendar.EventChange{Recurrence: calendar.To(&calendar.Recurrence{Frequency: "monthly", ByDay: []string{"MO", "TU", "WE", "TH", "FR"}, BySetPos: []int{-1}, Count: 2})},
			[]string{"2026-03-02T08:00 Standup", "2026-03-31T07:00 Standup"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			b.server.put("personal", "w.ics", weekly)
			b.update(t, "w", calendar.EventChange{Title: calendar.To("Other")}, calendar.Edit{RecurrenceID: "2026-04-27T07:00:00Z"})
			b.update(t, "w", tt.change, calendar.Edit{})
			got := b.list(t, year)
			var have []string
			for _, e := range got.Events {
				have = append(have, e.Start.String()[:min(16, len(e.Start.String()))]+" "+e.Title)
			}
			if diff := cmp.Diff(tt.want, have); diff != "" {
				t.Errorf("events (-want +got):\n%s\n%s", diff, b.server.data("personal", "w.ics"))
			}
		})
	}
}

// What the caller may not expect is said: occurrences that go with their changes, and times
// that no clock shows.
func TestWarnings(t *testing.T) {
	b := newTestbed(t, nil)
	weekly := func(count int) calendar.EventChange {
		return calendar.EventChange{Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: count})}
	}
	b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:Talk", "RRULE:FREQ=WEEKLY;COUNT=4"))
	b.update(t, "a", calendar.EventChange{Title: calendar.To("Last")}, calendar.Edit{RecurrenceID: "2026-03-31T09:00:00Z"})
	if r := b.update(t, "a", weekly(5), calendar.Edit{}); len(r.Warnings) != 0 {
		t.Errorf("a longer series: %q", r.Warnings)
	}
	r := b.update(t, "a", weekly(2), calendar.Edit{})
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "2026-03-31T09:00:00Z") {
		t.Errorf("a shorter series, without an occurrence that was changed: %q", r.Warnings)
	}
	if r = b.update(t, "a", weekly(1), calendar.Edit{}); len(r.Warnings) != 0 {
		t.Errorf("a shorter series, of occurrences like all: %q", r.Warnings)
	}
	vienna := func(start string) calendar.Result {
		t.Helper()
		r, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To(start), TimeZone: calendar.To("Europe/Vienna")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r = vienna("2027-03-28T02:30"); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "read as 2027-03-28T03:30") {
		t.Errorf("a start that does not exist: %q", r.Warnings)
	}
	for _, there := range []string{"2027-03-28T01:59", "2027-03-28T03:00", "2027-10-31T02:30", "2027-03-28T02:30:00+01:00"} {
		if r = vienna(there); len(r.Warnings) != 0 {
			t.Errorf("start %s: %q", there, r.Warnings)
		}
	}
}

// A start that the rule does not name is an occurrence all the same.
func TestWarnsOfStartsOutsideTheRule(t *testing.T) {
	b := newTestbed(t, nil)
	for _, tt := range []struct {
		start string
		rule  calendar.Recurrence
		warns bool
	}{
		{"2026-12-01", calendar.Recurrence{Frequency: "weekly", ByDay: []string{"MO"}, Count: 2}, true},
		{"2026-12-01", calendar.Recurrence{Frequency: "weekly", ByDay: []string{"TU", "FR"}, Count: 2}, false},
		{"2026-12-01", calendar.Recurrence{Frequency: "weekly", Count: 2}, false},
		{"2026-12-01", calendar.Recurrence{Frequency: "monthly", ByMonthDay: []int{15}, Count: 2}, true},
		{"2026-02-28", calendar.Recurrence{Frequency: "monthly", ByMonthDay: []int{-1}, Count: 2}, false},
		{"2026-02-27", calendar.Recurrence{Frequency: "monthly", ByMonthDay: []int{-1}, Count: 2}, true},
		{"2026-02-27", calendar.Recurrence{Frequency: "monthly", ByMonthDay: []int{-2}, Count: 2}, false},
		{"2026-12-01", calendar.Recurrence{Frequency: "yearly", ByMonth: []int{3}, Count: 2}, true},
		{"2026-12-01", calendar.Recurrence{Frequency: "yearly", ByMonth: []int{3, 12}, Count: 2}, false},
	} {
		r, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To(tt.start), Recurrence: calendar.To(&tt.rule)}, nil)
		if err != nil || (len(r.Warnings) > 0) != tt.warns {
			t.Errorf("%s %+v: %q, %v", tt.start, tt.rule, r.Warnings, err)
		}
		if len(r.Warnings) == 0 {
			continue
		}
		// What is sent back as it was read is nobody's slip.
		r = b.update(t, r.Event.ID, calendar.EventChange{Title: calendar.To("y"), Recurrence: calendar.To(r.Event.Recurrence)}, calendar.Edit{})
		if len(r.Warnings) != 0 {
			t.Errorf("%s %+v, sent back: %q", tt.start, tt.rule, r.Warnings)
		}
	}
}

// Where the server invites nobody, that is said.
func TestWarnsOfInvitationsUnsent(t *testing.T) {
	for _, tt := range []struct {
		schedules bool
		addresses []string
		want      []string // in the warning; none: there is no warning
	}{
		{true, []string{"mailto:alice@example.org"}, nil},
		{false, []string{"mailto:alice@example.org"}, []string{"sends no invitations"}},
		{false, nil, []string{"sends no invitations", "no organizer", "Ask the owner."}},
	} {
		b := newTestbed(t, &calendar.Options{AddressHelp: "Ask the owner."})
		b.server.schedules, b.server.addresses = tt.schedules, tt.addresses
		people := calendar.To([]calendar.Participant{{Email: "bob@example.org"}})
		made, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10"), Participants: people}, nil)
		if err != nil {
			t.Fatal(err)
		}
		changed := b.update(t, made.Event.ID, calendar.EventChange{Participants: people}, calendar.Edit{})
		for _, r := range []calendar.Result{made, changed} {
			if text := strings.Join(r.Warnings, " "); (text == "") != (tt.want == nil) {
				t.Errorf("schedules %t: %q", tt.schedules, text)
			} else {
				for _, want := range tt.want {
					if !strings.Contains(text, want) {
						t.Errorf("schedules %t: %q, want %q in it", tt.schedules, text, want)
					}
				}
			}
		}
		if r := b.update(t, made.Event.ID, calendar.EventChange{Title: calendar.To("y")}, calendar.Edit{}); len(r.Warnings) != 0 {
			t.Errorf("a change of the title: %q", r.Warnings)
		}
	}
}

// A time of day is not thrown away.
func TestEndOfDays(t *testing.T) {
	b := newTestbed(t, nil)
	day := func(end string) calendar.EventChange {
		return calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-12-07"), End: calendar.To(end)}
	}
	for _, end := range []string{"2026-12-08T10:00", "2026-12-08T10:00:00Z"} {
		if _, err := b.CreateEvent(t.Context(), "", day(end), nil); !errors.Is(err, calendar.ErrInvalid) || !strings.Contains(err.Error(), "2026-12-08") {
			t.Errorf("days that end at %s: %v", end, err)
		}
	}
	r, err := b.CreateEvent(t.Context(), "", day("2026-12-08"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.UpdateEvent(t.Context(), "personal", r.Event.ID, calendar.EventChange{End: calendar.To("2026-12-09T10:00")}, calendar.Edit{}); !errors.Is(err, calendar.ErrInvalid) {
		t.Errorf("moving the end to a time: %v", err)
	}
	said := day("2026-12-08T23:59")
	said.IsAllDay = calendar.To(true)
	if r, err = b.CreateEvent(t.Context(), "", said, nil); err != nil || r.Event.End.String() != "2026-12-08" {
		t.Errorf("days by isAllDay end %s, %v", r.Event.End, err)
	}
}

func TestMeetingsOfOthers(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules = true
	theirs := strings.Replace(odd, "ORGANIZER;CN=Alice:mailto:alice@example.org", "ORGANIZER;CN=Eve:mailto:eve@example.org", 1)
	b.server.put("personal", "odd.ics", theirs)
	_, err := b.UpdateEvent(t.Context(), "personal", "odd", calendar.EventChange{Start: calendar.To("2026-03-10T12:00:00Z")}, calendar.Edit{})
	if !errors.Is(err, calendar.ErrForbidden) || !strings.Contains(err.Error(), "eve@example.org") {
		t.Errorf("moving another's meeting: %v", err)
	}
	r := b.update(t, "odd", calendar.EventChange{Reminders: calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: 30}}), Color: calendar.To("red"), Focus: calendar.To(2)}, calendar.Edit{})
	if len(r.Notified) != 0 {
		t.Errorf("what is the user's own notifies %q", r.Notified)
	}
	added, removed := changedLines(theirs, b.server.data("personal", "odd.ics"))
	if diff := cmp.Diff([]string{"ACTION:AUDIO", "TRIGGER:-PT5M", "X-SOUND:ding"}, withoutStamps(removed)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"X-ADHD-FOCUS-PRIORITY:2", "COLOR:red", "TRIGGER:-PT30M", "ACTION:DISPLAY", `DESCRIPTION:Zahn\,arzt`}, withoutStamps(added)); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
}

const (
	byAlice, byEve = "ORGANIZER:mailto:alice@example.org\n", "ORGANIZER:mailto:eve@example.org\n"
	withAlice      = "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@example.org\n"
	weeklyTalk     = "DTSTART:20260310T090000Z\nRRULE:FREQ=WEEKLY;COUNT=4\nSEQUENCE:3\nSUMMARY:Talk\n"
	secondTalk     = "RECURRENCE-ID:20260317T090000Z\nDTSTART:20260317T090000Z\nSUMMARY:Second\n"
)

// talks is an object of some components of one event.
func talks(components ...string) string {
	const begin, end = "BEGIN:VEVENT\nUID:o\nDTSTAMP:20260101T000000Z\n", "END:VEVENT\n"
	all := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n" + begin + strings.Join(components, end+begin) + end + "END:VCALENDAR\n"
	return strings.ReplaceAll(all, "\n", "\r\n")
}

// However an object is written, what is another's in part is another's.
func TestWhoseMeeting(t *testing.T) {
	const single, second = "DTSTART:20260310T090000Z\nSUMMARY:Talk\n", "2026-03-17T09:00:00Z"
	title := calendar.EventChange{Title: calendar.To("x")}
	for _, tt := range []struct {
		name, object, recurrenceID string
		change                     calendar.EventChange
		others                     bool
	}{
		{"an occurrence without organizer", talks(weeklyTalk+byEve, secondTalk), second, title, true},
		{"a series without organizer", talks(weeklyTalk, secondTalk+byEve), "", title, true},
		{"another occurrence of it", talks(weeklyTalk, secondTalk+byEve), "2026-03-24T09:00:00Z", title, true},
		{"moving a series with another's occurrence", talks(weeklyTalk+byAlice, secondTalk+byEve), "", calendar.EventChange{Start: calendar.To("2026-03-10T11:00:00Z")}, true},
		{"ending a series with another's occurrence", talks(weeklyTalk+byAlice, secondTalk+byEve), "", calendar.EventChange{Recurrence: calendar.To[*calendar.Recurrence](nil)}, true},
		{"two organizers", talks(single + byAlice + byEve), "", title, true},
		{"a name without an address", talks(single + "ORGANIZER;CN=Eve:\n"), "", title, true},
		{"a name with half an address", talks(single + "ORGANIZER;CN=Eve:mailto:\n"), "", title, true},
		{"the user for another", talks(single + "ORGANIZER;SENT-BY=\"mailto:alice@example.org\":mailto:eve@example.org\n"), "", title, true},
		{"another event beside it", strings.Replace(talks(single, "X-P:1\n"+byEve+single), "o\r\nDTSTAMP:20260101T000000Z\r\nX-P", "p\r\nDTSTAMP:20260101T000000Z\r\nX-P", 1), "", title, false},
		{"nobody", talks(single + "ORGANIZER:\n"), "", title, false},
		{"the user twice", talks(weeklyTalk+byAlice, secondTalk+strings.ToUpper(byAlice)), second, title, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			b.server.put("personal", "o.ics", tt.object)
			_, err := b.UpdateEvent(t.Context(), "personal", "o", tt.change, calendar.Edit{RecurrenceID: tt.recurrenceID})
			if others := errors.Is(err, calendar.ErrForbidden); others != tt.others || err != nil && !others {
				t.Errorf("UpdateEvent: %v, want a refusal: %t", err, tt.others)
			}
			if now := b.server.data("personal", "o.ics"); err != nil && now != tt.object {
				t.Errorf("what was refused is\n%s", now)
			}
		})
	}
}

// What an attendee changes for himself leaves the organizer's properties, whoever is to be
// told, and the number of his revision.
func TestOthersPropertiesStay(t *testing.T) {
	no, yes := false, true
	agent := strings.Replace(byEve, "ORGANIZER", "ORGANIZER;SCHEDULE-AGENT=CLIENT", 1)
	zoned := strings.ReplaceAll(strings.Replace(weeklyTalk, "DTSTART:", "DTSTART;TZID=Europe/Vienna:", 1), "0000Z", "0000")
	red := calendar.EventChange{Color: calendar.To("red")}
	for _, tt := range []struct {
		name, object string
		how          calendar.Edit
		added        []string
		notified     []string
	}{
		{"all", talks(weeklyTalk + byEve + withAlice), calendar.Edit{}, []string{"COLOR:red"}, nil},
		{"silently", talks(zoned + byEve + withAlice), calendar.Edit{Notify: &no}, []string{"COLOR:red"}, nil},
		{"not silently", talks(weeklyTalk + agent + withAlice), calendar.Edit{Notify: &yes}, []string{"COLOR:red"}, nil},
		{"an occurrence", talks(weeklyTalk + byEve + withAlice), calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z"},
			[]string{"BEGIN:VEVENT", "UID:o", "DTSTART:20260317T090000Z", "SEQUENCE:3", "SUMMARY:Talk", strings.TrimSpace(byEve), strings.TrimSpace(withAlice), "RECURRENCE-ID:20260317T090000Z", "COLOR:red", "END:VEVENT"},
			[]string{"eve@example.org"}},
		{"an occurrence without the user", talks(weeklyTalk + byEve), calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z"},
			[]string{"BEGIN:VEVENT", "UID:o", "DTSTART:20260317T090000Z", "SEQUENCE:3", "SUMMARY:Talk", strings.TrimSpace(byEve), "RECURRENCE-ID:20260317T090000Z", "COLOR:red", "END:VEVENT"}, nil},
		{"an occurrence silently", talks(weeklyTalk + byEve + withAlice), calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z", Notify: &no},
			[]string{"BEGIN:VEVENT", "UID:o", "DTSTART:20260317T090000Z", "SEQUENCE:3", "SUMMARY:Talk", strings.TrimSpace(byEve), strings.TrimSpace(withAlice), "RECURRENCE-ID:20260317T090000Z", "COLOR:red", "END:VEVENT"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			b.server.schedules = true
			b.server.put("personal", "o.ics", tt.object)
			r := b.update(t, "o", red, tt.how)
			added, removed := changedLines(tt.object, b.server.data("personal", "o.ics"))
			if diff := cmp.Diff(tt.added, withoutStamps(added)); diff != "" || len(withoutStamps(removed)) > 0 {
				t.Errorf("added (-want +got):\n%s; removed %q", diff, removed)
			}
			if diff := cmp.Diff(tt.notified, r.Notified); diff != "" {
				t.Errorf("notified (-want +got):\n%s", diff)
			}
			if put, want := b.server.requests(), tt.how.Notify == &no; strings.HasSuffix(put[len(put)-1], " quietly") != want {
				t.Errorf("written by %q, quietly: want %t", put[len(put)-1], want)
			}
		})
	}

	// Left by the user, an occurrence is an exception, and the revision still the organizer's.
	b := newTestbed(t, nil)
	b.server.schedules = true
	b.server.put("personal", "o.ics", talks(weeklyTalk+byEve+withAlice))
	r, err := b.DeleteEvent(t.Context(), "personal", "o", calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z"})
	if diff := cmp.Diff([]string{"eve@example.org"}, r.Notified); err != nil || diff != "" {
		t.Errorf("DeleteEvent: %v; notified (-want +got):\n%s", err, diff)
	}
	r, err = b.DeleteEvent(t.Context(), "personal", "o", calendar.Edit{RecurrenceID: "2026-03-24T09:00:00Z", Notify: &no})
	added, removed := changedLines(talks(weeklyTalk+byEve+withAlice), b.server.data("personal", "o.ics"))
	if diff := cmp.Diff([]string{"EXDATE:20260317T090000Z", "EXDATE:20260324T090000Z"}, withoutStamps(added)); err != nil || diff != "" || len(withoutStamps(removed)) > 0 || r.Notified != nil {
		t.Errorf("DeleteEvent = %+v, %v; added (-want +got):\n%s; removed %q", r, err, diff, removed)
	}
}

// A user's own addresses come from the server, the settings and the account; an organizer
// who is none of them is another.
func TestOwnAddresses(t *testing.T) {
	const help = "Ask the owner."
	for _, tt := range []struct {
		name         string
		told, mails  []string
		set          []string
		organizer    string
		others       bool // the meeting is another's
		unknown      bool // and might be the user's own
		newOrganizer string
	}{
		{"nobody knows", nil, nil, nil, "alice@example.org", true, true, ""},
		{"the server tells paths", []string{"/principals/alice@example.org/"}, nil, nil, "alice@example.org", true, true, ""},
		{"the server tells addresses of the web", []string{"https://example.org/alice@example.org/"}, nil, nil, "alice@example.org", true, true, ""},
		{"a slash in it", nil, nil, []string{"a/b@example.org"}, "a/B@example.org", false, false, "a/b@example.org"},
		{"the server tells", []string{"mailto:Alice@example.org"}, nil, nil, "alice@example.org", false, false, "alice@example.org"},
		{"the account tells", nil, []string{"alice@example.org"}, nil, "alice@Example.org", false, false, "alice@example.org"},
		{"set", nil, nil, []string{"mailto:Alice@example.org"}, "ALICE@example.org", false, false, "alice@example.org"},
		{"set besides what the server tells", []string{"mailto:a@example.com"}, nil, []string{"alice@example.org"}, "alice@example.org", false, false, "a@example.com"},
		{"another's", nil, nil, []string{"alice@example.org"}, "eve@example.org", true, false, "alice@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, &calendar.Options{AddressHelp: help})
			b.server.addresses, b.mails = tt.told, tt.mails
			if tt.set != nil {
				if _, err := b.ChangeSettings(t.Context(), calendar.SettingsChange{Addresses: calendar.To(tt.set)}); err != nil {
					t.Fatal(err)
				}
			}
			b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:Talk", "ORGANIZER:mailto:"+tt.organizer, "ATTENDEE:mailto:bob@example.org"))
			_, err := b.UpdateEvent(t.Context(), "personal", "a", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{})
			if others := errors.Is(err, calendar.ErrForbidden); others != tt.others || err != nil && !others {
				t.Errorf("changing the title: %v, want a refusal: %t", err, tt.others)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.organizer) || strings.Contains(err.Error(), help) != tt.unknown) {
				t.Errorf("refused with %q; how to tell addresses is in it: want %t", err, tt.unknown)
			}
			own := calendar.EventChange{Reminders: calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: 30}}), Color: calendar.To("red"), Focus: calendar.To(2)}
			if r := b.update(t, "a", own, calendar.Edit{}); r.Event.Color != "red" || len(r.Event.Reminders) != 1 || r.Event.Focus != 2 {
				t.Errorf("what is the user's own is %+v", r.Event)
			}
			made, err := b.CreateEvent(t.Context(), "personal", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-11"),
				Participants: calendar.To([]calendar.Participant{{Email: "bob@example.org"}})}, nil)
			if err != nil || (made.Event.Organizer == nil) != (tt.newOrganizer == "") || made.Event.Organizer != nil && made.Event.Organizer.Email != tt.newOrganizer {
				t.Fatalf("a new meeting's organizer is %+v (%v), want %q", made.Event.Organizer, err, tt.newOrganizer)
			}
			if _, err := b.UpdateEvent(t.Context(), "personal", made.Event.ID, calendar.EventChange{Title: calendar.To("y")}, calendar.Edit{}); err != nil {
				t.Errorf("changing the user's own meeting: %v", err)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules = true
	b.server.put("personal", "odd.ics", odd)
	r := b.update(t, "odd", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{})
	if diff := cmp.Diff([]string{"bob@example.org", "carol@example.org"}, r.Notified); diff != "" {
		t.Errorf("notified (-want +got):\n%s", diff)
	}
	if r = b.update(t, "odd", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{}); len(r.Notified) != 0 {
		t.Errorf("a change of nothing notifies %q", r.Notified)
	}
	b.server.requests()
	no, yes := false, true
	r = b.update(t, "odd", calendar.EventChange{Title: calendar.To("y")}, calendar.Edit{Notify: &no})
	if raw := b.server.data("personal", "odd.ics"); len(r.Notified) != 0 || strings.Contains(raw, "SCHEDULE-AGENT") {
		t.Errorf("notify false: %q\n%s", r.Notified, raw) // to those who are there the server would send cancellations
	}
	b.wantRequests(t, "a silent change", "GET alice/personal/odd.ics", "PUT alice/personal/odd.ics quietly")
	more := calendar.To([]calendar.Participant{{Email: "bob@example.org"}, {Email: "dan@example.org"}})
	r = b.update(t, "odd", calendar.EventChange{Participants: more}, calendar.Edit{Notify: &no})
	if raw := b.server.data("personal", "odd.ics"); len(r.Notified) != 0 || strings.Count(raw, "SCHEDULE-AGENT=CLIENT") != 1 {
		t.Errorf("one more, notify false: %q\n%s", r.Notified, raw)
	}
	r = b.update(t, "odd", calendar.EventChange{Title: calendar.To("z")}, calendar.Edit{Notify: &yes})
	if raw := b.server.data("personal", "odd.ics"); len(r.Notified) != 2 || strings.Contains(raw, "SCHEDULE-AGENT") {
		t.Errorf("notify true: %q\n%s", r.Notified, raw)
	}
	b.server.requests()
	gone, err := b.DeleteEvent(t.Context(), "personal", "odd", calendar.Edit{Notify: &no})
	if err != nil || len(gone.Notified) != 0 {
		t.Errorf("DeleteEvent = %+v, %v", gone, err)
	}
	b.wantRequests(t, "a silent deletion", "GET alice/personal/odd.ics", "DELETE alice/personal/odd.ics quietly")
	made, err := b.CreateEvent(t.Context(), "personal", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-11"), Participants: more}, &no)
	if raw := b.server.data("personal", made.Event.ID+".ics"); err != nil || len(made.Notified) != 0 || strings.Count(raw, "SCHEDULE-AGENT=CLIENT") != 3 {
		t.Errorf("CreateEvent: %q, %v\n%s", made.Notified, err, raw)
	}
}

// Who is left out of a meeting hears of it, and who takes part in one occurrence.
func TestWhoIsNotified(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules = true
	b.server.put("personal", "o.ics", talks(weeklyTalk+byAlice+"ATTENDEE:mailto:bob@example.org\n", secondTalk+byAlice+"ATTENDEE:mailto:carol@example.org\nATTENDEE:mailto:Bob@example.org\n"))
	both := []string{"bob@example.org", "carol@example.org"}
	r := b.update(t, "o", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{})
	if diff := cmp.Diff(both, r.Notified); diff != "" {
		t.Errorf("by a change of the series (-want +got):\n%s", diff)
	}
	r = b.update(t, "o", calendar.EventChange{Participants: calendar.To([]calendar.Participant{{Email: "dan@example.org"}})}, calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z"})
	if diff := cmp.Diff(append(both, "dan@example.org"), r.Notified); diff != "" {
		t.Errorf("by another list (-want +got):\n%s", diff)
	}
	r = b.update(t, "o", calendar.EventChange{Participants: calendar.To([]calendar.Participant{})}, calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z"})
	if diff := cmp.Diff([]string{"bob@example.org", "dan@example.org"}, r.Notified); diff != "" {
		t.Errorf("by an empty list (-want +got):\n%s", diff)
	}
	gone, err := b.DeleteEvent(t.Context(), "personal", "o", calendar.Edit{})
	if diff := cmp.Diff([]string{"bob@example.org"}, gone.Notified); err != nil || diff != "" {
		t.Errorf("by the deletion: %v (-want +got):\n%s", err, diff)
	}
}

// Invited to two occurrences of a series, a user has an object without a master.
func TestOccurrencesAlone(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules = true
	occurrence := func(id string) string {
		return "RECURRENCE-ID:" + id + "\nDTSTART:" + id + "\nSUMMARY:Talk\n" + byEve + withAlice
	}
	b.server.put("personal", "o.ics", talks(occurrence("20260310T090000Z"), occurrence("20260317T090000Z"), occurrence("20260324T090000Z")))
	how := calendar.Edit{RecurrenceID: "2026-03-17T09:00:00Z"}
	for range 2 { // the second one changes nothing
		if r := b.update(t, "o", calendar.EventChange{Color: calendar.To("red")}, how); r.Event.Color != "red" || len(r.Notified) != 0 {
			t.Errorf("UpdateEvent = %+v", r)
		}
	}
	for i, want := range []string{"2026-03-17T09:00:00Z", "2026-03-10T09:00:00Z", "2026-03-24T09:00:00Z"} {
		r, err := b.DeleteEvent(t.Context(), "personal", "o", calendar.Edit{RecurrenceID: want})
		if diff := cmp.Diff([]string{"eve@example.org"}, r.Notified); err != nil || r.Scope != "occurrence" || diff != "" {
			t.Errorf("DeleteEvent(%s) = %+v, %v; notified (-want +got):\n%s", want, r, err, diff)
		}
		if left := strings.Count(b.server.data("personal", "o.ics"), "BEGIN:VEVENT"); left != 2-i {
			t.Errorf("after %d deletions %d occurrences are left", i+1, left)
		}
	}
	if names := b.server.names("personal"); len(names) > 0 {
		t.Errorf("after the last occurrence there is %q", names)
	}
}

func TestReadOnlyCalendar(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.make("shared").readOnly = true
	b.server.put("shared", "a.ics", simple("a"))
	b.list(t, year)
	b.server.requests()
	defer b.wantRequests(t, "writes to a read-only calendar") // none is even tried
	if _, err := b.UpdateEvent(t.Context(), "shared", "a", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{}); !errors.Is(err, calendar.ErrForbidden) {
		t.Errorf("UpdateEvent in a read-only calendar: %v", err)
	}
	if _, err := b.CreateEvent(t.Context(), "shared", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-01-01")}, nil); !errors.Is(err, calendar.ErrForbidden) {
		t.Errorf("CreateEvent in a read-only calendar: %v", err)
	}
}

func TestNotFound(t *testing.T) {
	b := newTestbed(t, nil)
	b.list(t, year)
	if _, err := b.GetEvent(t.Context(), "nope", "a", ""); !errors.Is(err, calendar.ErrNotFound) || !strings.Contains(err.Error(), "personal") {
		t.Errorf("unknown calendar: %v", err)
	}
	for _, id := range []string{"nope", "../personal/a", "%2e%2e", "a.ics", "h.Li4", ""} {
		if _, err := b.GetEvent(t.Context(), "personal", id, ""); !errors.Is(err, calendar.ErrNotFound) {
			t.Errorf("event %q: %v", id, err)
		}
	}
	for _, r := range b.server.requests() {
		if strings.HasPrefix(r, "GET") {
			t.Errorf("an unknown id became a request: %s", r)
		}
	}
	// What another client just made is found though the copy is fresh.
	b.server.put("personal", "new.ics", simple("new"))
	b.server.mu.Lock()
	b.server.make("made")
	b.server.mu.Unlock()
	b.server.put("made", "w.ics", weekly)
	if got, err := b.GetEvent(t.Context(), "personal", "new", ""); err != nil || got.Event.Title != "new" {
		t.Errorf("new event: %+v, %v", got.Event, err)
	}
	if got, err := b.GetEvent(t.Context(), "made", "w", "2026-03-16T08:00:00Z"); err != nil || got.Event.RecurrenceID == "" {
		t.Errorf("event in a new calendar: %+v, %v", got.Event, err)
	}
	if _, err := b.GetEvent(t.Context(), "made", "w", "2026-03-17T08:00:00Z"); !errors.Is(err, calendar.ErrNotFound) {
		t.Errorf("no such occurrence: %v", err)
	}
}

// An end that is the start is no DTEND, which has to be later.
func TestNoLength(t *testing.T) {
	b := newTestbed(t, nil)
	at := calendar.To("2026-03-10T09:00:00Z")
	r, err := b.CreateEvent(t.Context(), "personal", calendar.EventChange{Title: calendar.To("x"), Start: at, End: at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw := b.server.data("personal", r.Event.ID+".ics"); strings.Contains(raw, "DTEND") || r.Event.End != r.Event.Start {
		t.Errorf("an event without a length ends at %v: %s", r.Event.End, raw)
	}
	r = b.update(t, r.Event.ID, calendar.EventChange{End: calendar.To("2026-03-10T10:00:00Z")}, calendar.Edit{})
	if raw := b.server.data("personal", r.Event.ID+".ics"); !strings.Contains(raw, "DTEND:20260310T100000Z") {
		t.Errorf("with an hour's length: %s", raw)
	}
	r = b.update(t, r.Event.ID, calendar.EventChange{End: at}, calendar.Edit{})
	if raw := b.server.data("personal", r.Event.ID+".ics"); strings.Contains(raw, "DTEND") || r.Event.End != r.Event.Start {
		t.Errorf("without it again: %s", raw)
	}
}

// A server that goes by RFC 6638 alone can't be kept from writing to whom it has invited.
func TestSilenceThatCannotBeHad(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules, b.server.strict = true, true
	b.server.put("personal", "odd.ics", odd)
	b.server.put("personal", "o.ics", talks(weeklyTalk+byEve+withAlice))
	no := false
	how := calendar.Edit{Notify: &no}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, calendar.ErrForbidden) || !strings.HasPrefix(err.Error(), "notify: ") {
			t.Errorf("%s in silence: %v", what, err)
		}
	}
	for what, change := range map[string]calendar.EventChange{
		"a title": {Title: calendar.To("x")}, "nobody": {Participants: calendar.To([]calendar.Participant{})},
	} {
		_, err := b.UpdateEvent(t.Context(), "personal", "odd", change, how)
		refused(what, err)
	}
	_, err := b.DeleteEvent(t.Context(), "personal", "odd", how)
	refused("a deletion", err)
	one := calendar.Edit{Notify: &no, RecurrenceID: "2026-03-17T09:00:00Z"}
	_, err = b.DeleteEvent(t.Context(), "personal", "o", one)
	refused("leaving an occurrence", err)
	_, err = b.UpdateEvent(t.Context(), "personal", "o", calendar.EventChange{Color: calendar.To("red")}, one)
	refused("a color of an occurrence", err)
	if b.server.data("personal", "odd.ics") != odd {
		t.Error("something was written")
	}

	// Whom it has not invited is marked, and who is invited may leave.
	if _, err := b.UpdateEvent(t.Context(), "personal", "o", calendar.EventChange{Color: calendar.To("red")}, how); err != nil {
		t.Errorf("a color in silence: %v", err)
	}
	b.server.requests()
	if _, err := b.DeleteEvent(t.Context(), "personal", "o", how); err != nil {
		t.Errorf("leaving in silence: %v", err)
	}
	b.wantRequests(t, "leaving", "GET alice/personal/o.ics", "DELETE alice/personal/o.ics quietly")
	made, err := b.CreateEvent(t.Context(), "personal", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10"),
		Participants: calendar.To([]calendar.Participant{{Email: "bob@example.org"}})}, &no)
	if err != nil {
		t.Fatal(err)
	}
	both := calendar.To([]calendar.Participant{{Email: "bob@example.org"}, {Email: "carol@example.org"}})
	r := b.update(t, made.Event.ID, calendar.EventChange{Participants: both}, calendar.Edit{})
	if raw := b.server.data("personal", made.Event.ID+".ics"); len(r.Notified) != 0 || strings.Count(raw, "SCHEDULE-AGENT=CLIENT") != 3 {
		t.Errorf("one more to a silent event: %q\n%s", r.Notified, raw)
	}
}

// What counts is what the server stored, also where it gives an entity tag for other bytes:
// else the next change would take its doing for somebody's change.
func TestMangled(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.strict = true
	b.server.mangles = func(data string) string { return strings.ReplaceAll(data, `\,`, ",") }
	made, err := b.CreateEvent(t.Context(), "personal", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10"),
		Categories: calendar.To([]string{"a,b"})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stored := []string{"a", "b"}
	if diff := cmp.Diff(stored, made.Event.Categories); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(stored, b.list(t, year).Events[0].Categories); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	r := b.update(t, made.Event.ID, calendar.EventChange{Categories: calendar.To([]string{"c,d"})}, calendar.Edit{})
	if diff := cmp.Diff([]string{"c", "d"}, r.Event.Categories); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

// Whom the server could not write to has not been notified.
func TestUndelivered(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules, b.server.strict = true, true
	b.server.mangles = func(data string) string {
		data = strings.Replace(data, "ATTENDEE;X-NUM=1;", "ATTENDEE;X-NUM=1;SCHEDULE-STATUS=1.2;", 1)
		return strings.Replace(data, "ATTENDEE;PARTSTAT=DECLINED", "ATTENDEE;SCHEDULE-STATUS=5.1;PARTSTAT=DECLINED", 1)
	}
	b.server.put("personal", "odd.ics", odd)
	r := b.update(t, "odd", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{})
	if diff := cmp.Diff([]string{"bob@example.org"}, r.Notified); diff != "" {
		t.Errorf("notified (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"the calendar server could not write to carol@example.org (status 5.1)"}, r.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if r = b.update(t, "odd", calendar.EventChange{Title: calendar.To("x")}, calendar.Edit{}); len(r.Notified)+len(r.Warnings) != 0 {
		t.Errorf("a change of nothing: %+v", r)
	}
}

// Who deletes another's meeting from that other's calendar does not leave it: whether the
// server writes to anybody then is not known.
func TestTheirMeetingInTheirCalendar(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.schedules = true
	b.server.make("team").props[xml.Name{Space: "http://owncloud.org/ns", Local: "read-only"}] = "" // a share for writing
	for _, in := range []string{"team", "personal"} {
		b.server.put(in, "o.ics", talks(weeklyTalk+byEve+withAlice))
		r, err := b.DeleteEvent(t.Context(), in, "o", calendar.Edit{})
		if err != nil || len(r.Notified)+len(r.Warnings) != 1 || (in == "team") != (len(r.Warnings) == 1) {
			t.Errorf("DeleteEvent in %s: notified %q, warnings %q, %v", in, r.Notified, r.Warnings, err)
		}
	}
}
