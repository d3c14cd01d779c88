package davserver

import (
	"context"
	"fmt"
	"time"

	"github.com/perdure/perdure/calendar/ical"
	"github.com/perdure/perdure/durable"
)

// sample is an event that a new user finds.
type sample struct {
	uid, summary, text string
	day                int // from today
	from               time.Duration
	length             time.Duration // 0: the whole day
	rule               string
}

// sampleCalendar is a calendar that a new user finds.
type sampleCalendar struct {
	name, display, color, order string
	components                  []string
	events                      []sample
}

var samples = []sampleCalendar{
	{"personal", "Personal", "#2E7D32", "1", []string{"VEVENT", "VTODO", "VJOURNAL"}, []sample{
		{uid: "sample-walk", summary: "Walk in the park", text: "This calendar is yours: change or delete what is in it.", day: 0, from: 18 * time.Hour, length: time.Hour},
		{uid: "sample-dentist", summary: "Dentist", text: "Bring the insurance card.", day: 3, from: 8*time.Hour + 30*time.Minute, length: 45 * time.Minute},
		{uid: "sample-trip", summary: "Trip to the lake", day: 5},
	}},
	{"work", "Work", "#1565C0", "2", []string{"VEVENT", "VTODO"}, []sample{
		{uid: "sample-standup", summary: "Stand-up", day: 1, from: 9 * time.Hour, length: 15 * time.Minute, rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"},
		{uid: "sample-review", summary: "Project review", text: "What is done, what is next.", day: 2, from: 14 * time.Hour, length: 90 * time.Minute},
	}},
}

// Seed makes two calendars with a few sample events for a user who never had a
// calendar, and does nothing for others: it may be called at every start. When it
// returns nil, they are durable. Several goroutines may call it.
func (s *Server) Seed(ctx context.Context, u User) error {
	begun, err := durable.Call0(ctx, s.home(u), (*home).Begun)
	if err != nil || begun {
		return err
	}
	var made []homeCalendar
	var stubs []*durable.Stub
	for _, c := range samples {
		stub, err := s.makeSample(ctx, &c, time.Now())
		if err != nil {
			return fmt.Errorf("seed calendar %s: %w", c.name, err)
		}
		made = append(made, homeCalendar{c.name, stub.ID().String()})
		stubs = append(stubs, stub)
	}
	seeded, err := durable.Call(ctx, s.home(u), (*home).Seed, made)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	for i, stub := range stubs {
		if seeded {
			s.changed(u, made[i].Name, "")
		} else {
			s.erase(ctx, stub)
		}
	}
	return nil
}

func (s *Server) makeSample(ctx context.Context, c *sampleCalendar, now time.Time) (*durable.Stub, error) {
	stub, err := s.calendars.Get(s.calendars.NewID())
	if err != nil {
		return nil, err
	}
	args := newCalendarArgs{Components: c.components, Properties: make(map[string]string)}
	for _, p := range []*element{
		textElement(dav("displayname"), c.display),
		textElement(apple("calendar-color"), c.color),
		textElement(apple("calendar-order"), c.order),
	} {
		args.Properties[propertyKey(p.Name)] = p.xml()
	}
	if err := durable.Exec(ctx, stub, (*calendar).Create, args); err != nil {
		return nil, err
	}
	for i := range c.events {
		put, err := examine(c.events[i].calendar(now).Bytes(), components)
		if err != nil {
			return nil, err
		}
		put.Name = c.events[i].uid + ".ics"
		if _, err := durable.Call(ctx, stub, (*calendar).Put, put); err != nil {
			return nil, err
		}
	}
	return stub, nil
}

// calendar writes the event. Its time is floating: nine o'clock wherever the user is.
func (e *sample) calendar(now time.Time) *ical.Calendar {
	c := ical.New(productID)
	v := ical.NewComponent("VEVENT")
	v.SetText("UID", e.uid+"@perdure")
	v.SetTime("DTSTAMP", ical.UTCTime(now.UTC().Truncate(time.Second)))
	today := ical.DateOf(now.Date())
	start := today.Wall.AddDate(0, 0, e.day)
	for e.rule != "" && (start.Weekday() == time.Saturday || start.Weekday() == time.Sunday) {
		start = start.AddDate(0, 0, 1) // the first instance has to be one of the rule's
	}
	if e.length == 0 {
		v.SetTime("DTSTART", ical.DateOf(start.Date()))
		v.SetTime("DTEND", ical.DateOf(start.AddDate(0, 0, 1).Date()))
	} else {
		v.SetTime("DTSTART", ical.Time{Wall: start.Add(e.from)})
		v.SetTime("DTEND", ical.Time{Wall: start.Add(e.from + e.length)})
	}
	if e.rule != "" {
		v.SetValue("RRULE", e.rule)
	}
	v.SetText("SUMMARY", e.summary)
	if e.text != "" {
		v.SetText("DESCRIPTION", e.text)
	}
	c.AddComponent(v)
	return c
}
