package ical_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

const standup = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:standup
X-COLOUR-OF-THE-DAY;P=1:blue
DTSTART;TZID=Europe/Vienna:20261022T091500
DURATION:PT15M
RRULE:FREQ=WEEKLY;BYDAY=TH,MO
SUMMARY:Standup
END:VEVENT
END:VCALENDAR
`

func Example() {
	cal, err := ical.Parse([]byte(standup), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	cal.Components("VEVENT")[0].SetText("SUMMARY", "Standup, short")
	fmt.Print(string(cal.Bytes()[strings.Index(standup, "X-C"):]))
	// Output:
	// X-COLOUR-OF-THE-DAY;P=1:blue
	// DTSTART;TZID=Europe/Vienna:20261022T091500
	// DURATION:PT15M
	// RRULE:FREQ=WEEKLY;BYDAY=TH,MO
	// SUMMARY:Standup\, short
	// END:VEVENT
	// END:VCALENDAR
}

func ExampleObject_Expand() {
	cal, _ := ical.Parse([]byte(standup), nil)
	from := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC)
	res := ical.NewObject(cal, nil).Expand(from, from.AddDate(0, 0, 10), nil)
	for _, in := range res.Instances {
		fmt.Println(in.Start, in.RecurrenceID)
	}
	// Output:
	// 2026-10-22 09:15:00 +0200 CEST 20261022T091500
	// 2026-10-26 09:15:00 +0100 CET 20261026T091500
	// 2026-10-29 09:15:00 +0100 CET 20261029T091500
}

func ExampleCalendar_Override() {
	cal, _ := ical.Parse([]byte(standup), nil)
	id, _ := ical.ParseTime("20261026T091500", "Europe/Vienna")
	once, err := cal.Override("standup", id, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	once.SetText("SUMMARY", "Standup with cake")
	fmt.Print(strings.ReplaceAll(string(once.Bytes()), "\r", ""))
	// Output:
	// BEGIN:VEVENT
	// UID:standup
	// X-COLOUR-OF-THE-DAY;P=1:blue
	// DTSTART;TZID=Europe/Vienna:20261026T091500
	// DURATION:PT15M
	// SUMMARY:Standup with cake
	// RECURRENCE-ID;TZID=Europe/Vienna:20261026T091500
	// END:VEVENT
}

func ExampleNewTimezone() {
	vienna, _ := time.LoadLocation("Europe/Vienna")
	v := ical.NewTimezone("Europe/Vienna", vienna, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, part := range v.Components("") {
		fmt.Println(part.Name(), part.Text("DTSTART"), part.Property("RRULE").Value())
	}
	// Output:
	// STANDARD 20251026T030000 FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
	// DAYLIGHT 20260329T020000 FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
}
