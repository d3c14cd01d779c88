package calendar_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar"
)

// Each error names the field, says what was wrong, and what to send.
func TestInvalid(t *testing.T) {
	const ok = `"title":"x","start":"2026-03-10T09:00"`
	for _, tt := range []struct{ json, want string }{
		{`{"start":"2026-03-10"}`, "title: it is missing"},
		{`{"title":" ","start":"2026-03-10"}`, "title: an event needs a title"},
		{`{"title":"x"}`, "start: it is missing; send a date like 2026-03-10"},
		{`{"title":"x","start":"2026-02-30"}`, `start: "2026-02-30" is not a date or time that exists`},
		{`{"title":"x","start":"10.3.2026"}`, "start:"},
		{`{"title":"x","start":"2026-03-10T25:00"}`, "start:"},
		{`{` + ok + `,"end":"2026-03-10T08:00"}`, "end: 2026-03-10T08:00:00.000Z is before the start"},
		{`{` + ok + `,"end":"2026-03-10"}`, "end: 2026-03-10 has no time of day"},
		{`{"title":"x","start":"2026-03-10","end":"2026-03-09"}`, "end: 2026-03-09 is before the start 2026-03-10"},
		{`{"title":"x","start":"2026-03-10","isAllDay":false}`, "start: 2026-03-10 has no time of day"},
		{`{` + ok + `,"timeZone":"Mars/Olympus"}`, `timeZone: "Mars/Olympus" is not a time zone`},
		{`{` + ok + `,"status":"maybe"}`, `status: "maybe" is not one of confirmed, tentative, cancelled`},
		{`{` + ok + `,"visibility":"none"}`, "visibility:"},
		{`{` + ok + `,"availability":"away"}`, "availability:"},
		{`{` + ok + `,"color":"blurple"}`, "color:"},
		{`{` + ok + `,"focusPriority":11}`, "focusPriority: 11 is out of range; send a whole number from 1 to 10"},
		{`{` + ok + `,"energyLevel":6}`, "energyLevel: 6 is out of range"},
		{`{` + ok + `,"adhdCategory":"a;b"}`, "adhdCategory:"},
		{`{` + ok + `,"categories":["a",""]}`, "categories: an entry is empty"},
		{`{` + ok + `,"participants":[{"email":"bob"}]}`, `participants[0].email: "bob" is not an e-mail address`},
		{`{` + ok + `,"participants":[{"email":"a@b.c\r\nX:y"}]}`, "participants[0].email:"},
		{`{` + ok + `,"participants":[{"email":"a@b.cd"},{"email":"A@b.cd"}]}`, "participants[1].email:"},
		{`{` + ok + `,"participants":[{"email":"a@b.cd","role":"boss"}]}`, "participants[0].role:"},
		{`{` + ok + `,"reminders":[{"type":"bell","minutesBefore":5}]}`, "reminders[0].type:"},
		{`{` + ok + `,"reminders":[{"minutesBefore":-5}]}`, "reminders[0].minutesBefore:"},
		{`{` + ok + `,"recurrenceRule":{}}`, "recurrenceRule.frequency: it is missing"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"hourly"}}`, "recurrenceRule.frequency:"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"daily","count":2,"until":"2026-04-01"}}`, "count and until exclude"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"weekly","byDay":["2MO"]}}`, `recurrenceRule.byDay: "2MO" has a number`},
		{`{` + ok + `,"recurrenceRule":{"frequency":"monthly","byDay":["MO;COUNT=1"]}}`, "recurrenceRule.byDay:"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"monthly","byMonthDay":[32]}}`, "recurrenceRule.byMonthDay:"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"daily","until":"soon"}}`, "recurrenceRule.until:"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"yearly","byMonth":[2],"byMonthDay":[30],"count":1,"exDates":["2026-03-10T09:00"]}}`, "recurrenceRule: the series has no occurrence"},
		{`{` + ok + `,"recurrenceRule":{"frequency":"weekly","count":4,"exDates":["2026-03-17","2026-03-18"]}}`, `recurrenceRule.exDates: "2026-03-18" is no occurrence of the series; send dates or times of its occurrences, such as 2026-03-10T09:00:00Z`},
		{`{` + ok + `,"recurrenceRule":{"frequency":"weekly","count":4,"exDates":["2026-03-17T10:00"]}}`, `recurrenceRule.exDates: "2026-03-17T10:00" is no occurrence`},
		{`{` + ok + `,"recurrenceRule":{"frequency":"weekly","until":"2026-03-24","exDates":["2026-03-31"]}}`, `recurrenceRule.exDates: "2026-03-31" is no occurrence`},
		{`{"title":"a\u0007b","start":"2026-03-10"}`, "title: the character U+0007 can't be stored; send the text without it"},
		{`{` + ok + `,"description":"a\n\u0000b"}`, "description: the character U+0000"},
		{`{` + ok + `,"description":"a\rb"}`, "description: the character U+000D"},
		{`{` + ok + `,"location":"\u007f"}`, "location: the character U+007F"},
		{`{` + ok + `,"location":"\uffff"}`, "location: the character U+FFFF"},
		{`{` + ok + `,"adhdCategory":"a\fb"}`, "adhdCategory: the character U+000C"},
		{`{` + ok + `,"categories":["a","b\u001b"]}`, "categories[1]: the character U+001B"},
		{`{` + ok + `,"relatedTasks":["\bx"]}`, "relatedTasks[0]: the character U+0008"},
		{`{` + ok + `,"participants":[{"email":"a@b.cd","name":"A\u0001"}]}`, "participants[0].name: the character U+0001"},
	} {
		b := newTestbed(t, nil)
		var c calendar.EventChange
		if err := json.Unmarshal([]byte(tt.json), &c); err != nil {
			t.Fatalf("%s: %v", tt.json, err)
		}
		_, err := b.CreateEvent(t.Context(), "", c, nil)
		var p *calendar.Problem
		if !errors.Is(err, calendar.ErrInvalid) || !errors.As(err, &p) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CreateEvent(%s) = %v, want an ErrInvalid with %q", tt.json, err, tt.want)
		}
		if n := len(b.server.names("personal")); n != 0 {
			t.Errorf("CreateEvent(%s) stored something", tt.json)
		}
	}
}

// Texts may have tabs and lines, and come back as they were sent, but for the carriage return.
func TestTextsWithLines(t *testing.T) {
	b := newTestbed(t, nil)
	text := "a\tb\nc\r\nd\u00a0\u0085é"
	made, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("T"), Start: calendar.To("2026-03-10"),
		Description: calendar.To(text), Location: calendar.To(text)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(text, "\r\n", "\n")
	if e := made.Event; e.Description != want || e.Location != want {
		t.Errorf("description %q, location %q, want %q", e.Description, e.Location, want)
	}
}

func TestCalendarNamesWithControlCharacters(t *testing.T) {
	b := newTestbed(t, nil)
	for want, c := range map[string]calendar.CalendarChange{
		"displayName: the character U+0007": {DisplayName: calendar.To("a\u0007b")},
		"category: the character U+000C":    {DisplayName: calendar.To("a"), Category: calendar.To("a\fb")},
	} {
		_, err := b.CreateCalendar(t.Context(), c)
		if !errors.Is(err, calendar.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("CreateCalendar = %v, want an ErrInvalid with %q", err, want)
		}
		if _, err = b.UpdateCalendar(t.Context(), "personal", c); !errors.Is(err, calendar.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("UpdateCalendar = %v, want an ErrInvalid with %q", err, want)
		}
	}
}

func TestChangeFromJSON(t *testing.T) {
	var c calendar.EventChange
	if err := json.Unmarshal([]byte(`{"title":"x","description":null,"categories":null,"recurrenceRule":null,"focusPriority":null}`), &c); err != nil {
		t.Fatal(err)
	}
	if !c.Title.Set || !c.Description.Set || !c.Categories.Set || !c.Recurrence.Set || !c.Focus.Set || c.Location.Set || c.IsEmpty() {
		t.Errorf("change %+v", c)
	}
}

func TestAllDay(t *testing.T) {
	b := newTestbed(t, nil)
	made, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("Trip"), Start: calendar.To("2026-03-10"), End: calendar.To("2026-03-12")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw := b.server.data("personal", made.Event.ID+".ics"); !strings.Contains(raw, "DTSTART;VALUE=DATE:20260310") || !strings.Contains(raw, "DTEND;VALUE=DATE:20260313") {
		t.Errorf("stored:\n%s", raw)
	}
	text, _ := json.Marshal(made.Event)
	if !strings.Contains(string(text), `"start":"2026-03-10","end":"2026-03-12","isAllDay":true`) {
		t.Errorf("JSON %s", text)
	}
	// A new start alone keeps the three days; one day's end may be its start.
	r := b.update(t, made.Event.ID, calendar.EventChange{Start: calendar.To("2026-04-01")}, calendar.Edit{})
	if r.Event.End.String() != "2026-04-03" {
		t.Errorf("end %s after a new start", r.Event.End)
	}
	r = b.update(t, made.Event.ID, calendar.EventChange{End: calendar.To("2026-04-01")}, calendar.Edit{})
	if r.Event.Start.String() != "2026-04-01" || r.Event.End.String() != "2026-04-01" {
		t.Errorf("one day is %s to %s", r.Event.Start, r.Event.End)
	}
	r = b.update(t, made.Event.ID, calendar.EventChange{Start: calendar.To("2026-04-01T09:00"), TimeZone: calendar.To("America/New_York")}, calendar.Edit{})
	if r.Event.IsAllDay || r.Event.Start.String() != "2026-04-01T13:00:00.000Z" || r.Event.End.String() != "2026-04-01T14:00:00.000Z" {
		t.Errorf("timed: %s to %s", r.Event.Start, r.Event.End)
	}
	// What another client wrote without an end.
	b.server.put("personal", "noend.ics", event("noend", ";VALUE=DATE:20260501", "SUMMARY:May"))
	got, err := b.GetEvent(t.Context(), "personal", "noend", "")
	if err != nil || got.Event.End.String() != "2026-05-01" {
		t.Errorf("without end: %s, %v", got.Event.End, err)
	}
}

// A calendar's own zone goes before that of the default calendar.
func TestZoneOfCalendar(t *testing.T) {
	b := newTestbed(t, nil)
	zone := xmlName("urn:ietf:params:xml:ns:caldav", "calendar-timezone")
	b.server.make("work").props[zone] = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VTIMEZONE\nTZID:Asia/Tokyo\nEND:VTIMEZONE\nEND:VCALENDAR\n"
	b.server.calendars[fakeHome+"personal/"].props[zone] = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VTIMEZONE\nTZID:Europe/Vienna\nEND:VTIMEZONE\nEND:VCALENDAR\n"
	for id, want := range map[string]string{"work": "Asia/Tokyo", "": "Europe/Vienna"} {
		r, err := b.CreateEvent(t.Context(), id, calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10T09:00")}, nil)
		if err != nil || r.TimeZone != want || r.Event.TimeZone != want {
			t.Errorf("in calendar %q: zone %s, %v, want %s", id, r.TimeZone, err, want)
		}
	}
}

// The zone of a local time: the one given, the setting, the calendar's, the server's.
func TestZones(t *testing.T) {
	for _, tt := range []struct {
		name, given, setting, calendar, want string
	}{
		{"server", "", "", "", "2026-03-10T18:00:00.000Z"},
		{"calendar", "", "", "Asia/Tokyo", "2026-03-10T00:00:00.000Z"},
		{"setting", "", "Europe/Vienna", "Asia/Tokyo", "2026-03-10T08:00:00.000Z"},
		{"given", "America/New_York", "Europe/Vienna", "Asia/Tokyo", "2026-03-10T13:00:00.000Z"},
		{"Windows name", "W. Europe Standard Time", "", "", "2026-03-10T08:00:00.000Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, &calendar.Options{TimeZone: mustZone(t, "Pacific/Marquesas")}) // -09:30
			if tt.name == "server" {
				tt.want = "2026-03-10T18:30:00.000Z"
			}
			if tt.calendar != "" {
				b.server.calendars[fakeHome+"personal/"].props[xmlName("urn:ietf:params:xml:ns:caldav", "calendar-timezone")] =
					"BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VTIMEZONE\nTZID:" + tt.calendar + "\nEND:VTIMEZONE\nEND:VCALENDAR\n"
			}
			if _, err := b.ChangeSettings(t.Context(), calendar.SettingsChange{TimeZone: calendar.To(tt.setting)}); err != nil {
				t.Fatal(err)
			}
			c := calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10T09:00")}
			if tt.given != "" {
				c.TimeZone = calendar.To(tt.given)
			}
			r, err := b.CreateEvent(t.Context(), "", c, nil)
			if err != nil || r.Event.Start.String() != tt.want {
				t.Errorf("start %s, %v, want %s (zone %s)", r.Event.Start, err, tt.want, r.TimeZone)
			}
		})
	}
}
