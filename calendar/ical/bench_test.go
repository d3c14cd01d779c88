package ical

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// calendarOf is an export with n events, every tenth of them weekly.
func calendarOf(n int) []byte {
	var b strings.Builder
	b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\n")
	b.Write(NewTimezone("Europe/Vienna", ianaZone("Europe/Vienna"), time.Unix(1e9, 0)).Bytes())
	for i := range n {
		start := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 5 * time.Hour)
		fmt.Fprintf(&b, "BEGIN:VEVENT\r\nUID:event-%d@example.test\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Event number %d\\, with a comma\r\n", i, i)
		fmt.Fprintf(&b, "DTSTART;TZID=Europe/Vienna:%s\r\nDURATION:PT1H\r\nCATEGORIES:work,focus\r\nX-ADHD-ENERGY-LEVEL:3\r\n", start.Format(layout))
		if i%10 == 0 {
			b.WriteString("RRULE:FREQ=WEEKLY\r\n")
		}
		b.WriteString("BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT10M\r\nDESCRIPTION:x\r\nEND:VALARM\r\nEND:VEVENT\r\n")
	}
	b.WriteString("END:VCALENDAR\r\n")
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	one, err := os.ReadFile("testdata/cases/recur.ics")
	if err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{"object": one, "5000 events": calendarOf(5000)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(data, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMonth answers "what is on this month" from 5,000 events, from the bytes
// and from objects that have been read.
func BenchmarkMonth(b *testing.B) {
	data := calendarOf(5000)
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	cal, err := Parse(data, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bytes", func(b *testing.B) {
		for b.Loop() {
			cal, _ := Parse(data, nil)
			Expand(cal, from, from.AddDate(0, 1, 0), nil, nil)
		}
	})
	b.Run("object", func(b *testing.B) {
		o := NewObject(cal, nil)
		n := 0
		for b.Loop() {
			n = len(o.Expand(from, from.AddDate(0, 1, 0), nil).Instances)
		}
		b.ReportMetric(float64(n), "instances")
	})
}
