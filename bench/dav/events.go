package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// The calendar is that of somebody busy for ten years: an event every 17 hours, one in
// twenty a weekly series of ten, all in a zone with its VTIMEZONE and with a reminder,
// as clients write them.

const zoneName = "Europe/Vienna"

var (
	firstDay = time.Date(2020, 1, 1, 8, 0, 0, 0, time.UTC)
	every    = 17 * time.Hour
	timezone = vtimezone()
)

func vtimezone() string {
	loc, err := ical.New("bench").Zone(zoneName)
	if err != nil {
		panic(err) // the database of zones is part of the program
	}
	return string(ical.NewTimezone(zoneName, loc, firstDay).Bytes())
}

func eventName(i int) string { return fmt.Sprintf("event-%05d.ics", i) }

func eventTitle(i, version int) string { return fmt.Sprintf("Event number %d.%d", i, version) }

func component(i, version int) string {
	at := firstDay.Add(time.Duration(i) * every)
	rule := ""
	if i%20 == 0 {
		rule = "RRULE:FREQ=WEEKLY;COUNT=10\r\n"
	}
	const layout = "20060102T150405"
	return "BEGIN:VEVENT\r\nUID:" + strings.TrimSuffix(eventName(i), ".ics") + "\r\nDTSTAMP:20260101T000000Z\r\n" +
		"DTSTART;TZID=" + zoneName + ":" + at.Format(layout) + "\r\nDTEND;TZID=" + zoneName + ":" + at.Add(time.Hour).Format(layout) + "\r\n" + rule +
		"SUMMARY:" + eventTitle(i, version) + "\r\nDESCRIPTION:What there is to say of it takes a line or two\\, as it does in calendars.\r\n" +
		"LOCATION:Meeting room 3\r\nCATEGORIES:Work,Projects\r\nSTATUS:CONFIRMED\r\nTRANSP:OPAQUE\r\nX-ADHD-FOCUS-PRIORITY:5\r\n" +
		"BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT10M\r\nDESCRIPTION:Reminder\r\nEND:VALARM\r\nEND:VEVENT\r\n"
}

func eventData(i, version int) string { return calendarData(component(i, version)) }

func calendarData(components string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Perdure//bench//EN\r\n" + timezone + components + "END:VCALENDAR\r\n"
}

// week is one in the middle of the calendar; from is a Monday.
func (b *bench) week() (from, to time.Time) {
	mid := firstDay.Add(time.Duration(b.events/2) * every)
	from = time.Date(mid.Year(), mid.Month(), mid.Day(), 0, 0, 0, 0, time.UTC)
	for from.Weekday() != time.Monday {
		from = from.AddDate(0, 0, -1)
	}
	return from, from.AddDate(0, 0, 7)
}

// inWeek is an event that begins on a day within the week.
func (b *bench) inWeek() int {
	from, _ := b.week()
	i := int(from.AddDate(0, 0, 2).Sub(firstDay)/every) + 1
	if i%20 == 0 {
		i++
	}
	return i
}

// fill makes the calendar and puts the events into it. Radicale takes them in one
// piece, which takes it less time than a PUT each.
func (b *bench) fill(ctx context.Context, s *server) error {
	if s.bulk {
		var all strings.Builder
		for i := range b.events {
			all.WriteString(component(i, 0))
		}
		_, err := s.send(ctx, "PUT", s.calendar, "", calendarData(all.String()))
		return err
	}
	mkcalendar := `<C:mkcalendar ` + namespaces + `><D:set><D:prop><D:displayname>Bench</D:displayname></D:prop></D:set></C:mkcalendar>`
	if _, err := s.send(ctx, "MKCALENDAR", s.calendar, "", mkcalendar); err != nil {
		return err
	}
	for i := range b.events {
		if err := s.put(ctx, i, 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) put(ctx context.Context, i, version int) error {
	_, err := s.send(ctx, "PUT", s.calendar+eventName(i), "", eventData(i, version))
	return err
}
