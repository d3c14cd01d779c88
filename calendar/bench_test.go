package calendar_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/perdure/perdure/calendar"
)

const benchEvents = 5000

func bigCalendar(b *testing.B, opts *calendar.Options) *testbed {
	bed := newTestbed(b, opts)
	for i := range benchEvents {
		bed.server.put("personal", fmt.Sprintf("e%04d.ics", i), benchEvent(i, 0))
	}
	return bed
}

func benchEvent(i, version int) string {
	start := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 100 * time.Minute)
	lines := []string{"DTEND:" + start.Add(time.Hour).Format("20060102T150405Z"), fmt.Sprintf("SUMMARY:Event %d.%d", i, version),
		"DESCRIPTION:Some words about what is going to happen, as people write them, with a link and a phone number",
		"LOCATION:Meeting room 3", "CATEGORIES:Work,Projects", "X-ADHD-FOCUS-PRIORITY:5"}
	if i%50 == 0 {
		lines = append(lines, "RRULE:FREQ=WEEKLY;COUNT=20")
	}
	return event(fmt.Sprint(i), start.Format(":20060102T150405Z"), lines...)
}

// BenchmarkListEvents lists a week of a calendar of 5,000 events, and all its first page.
func BenchmarkListEvents(b *testing.B) {
	week := calendar.Query{Start: "2026-06-01", End: "2026-06-07"}
	whole := calendar.Query{Start: "2026-01-01", End: "2026-12-31"}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			bed := bigCalendar(b, nil)
			b.StartTimer()
			bed.list(b, week)
		}
	})
	b.Run("restarted", func(b *testing.B) {
		bed := bigCalendar(b, nil)
		bed.list(b, week)
		for b.Loop() {
			bed.open(b, nil)
			bed.list(b, week)
		}
	})
	b.Run("warm", func(b *testing.B) {
		bed := bigCalendar(b, nil)
		bed.list(b, week)
		for b.Loop() {
			bed.list(b, week)
		}
	})
	b.Run("warm whole year", func(b *testing.B) {
		bed := bigCalendar(b, nil)
		bed.list(b, whole)
		for b.Loop() {
			bed.list(b, whole)
		}
	})
	b.Run("unchanged after TTL", func(b *testing.B) {
		bed := bigCalendar(b, &calendar.Options{TTL: time.Nanosecond})
		bed.list(b, week)
		for b.Loop() {
			bed.list(b, week)
		}
	})
	b.Run("ten changed after TTL", func(b *testing.B) {
		bed := bigCalendar(b, &calendar.Options{TTL: time.Nanosecond})
		bed.list(b, week)
		for n := 0; b.Loop(); n++ {
			for i := range 10 {
				k := (n*10 + i) * 17 % benchEvents
				bed.server.put("personal", fmt.Sprintf("e%04d.ics", k), benchEvent(k, n+1))
			}
			bed.list(b, week)
		}
	})
	b.Run("memory", func(b *testing.B) {
		bed := bigCalendar(b, nil)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		bed.list(b, week)
		runtime.GC()
		runtime.ReadMemStats(&after)
		for b.Loop() {
			bed.list(b, week)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
	})
}

func BenchmarkUpdateEvent(b *testing.B) {
	bed := bigCalendar(b, nil)
	bed.list(b, year)
	for n := 0; b.Loop(); n++ {
		id := fmt.Sprintf("e%04d", n*7%benchEvents)
		if _, err := bed.UpdateEvent(b.Context(), "personal", id, calendar.EventChange{Title: calendar.To(fmt.Sprint(n))}, calendar.Edit{}); err != nil {
			b.Fatal(err)
		}
	}
}
