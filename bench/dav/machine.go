package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// expansions measures reading and expanding the calendar's objects, on one core.
func (b *bench) expansions(context.Context) error {
	data := make([][]byte, b.events)
	size := 0
	for i := range data {
		data[i] = []byte(eventData(i, 0))
		size += len(data[i])
	}
	objects := make([]*ical.Object, b.events)
	read := func(int) error {
		for i := range data {
			cal, err := ical.Parse(data[i], nil)
			if err != nil {
				return err
			}
			objects[i] = ical.NewObject(cal, nil)
		}
		return nil
	}
	from, to := b.week()
	week, series := 0, 0
	expand := func(int) error {
		week = 0
		for _, o := range objects {
			week += len(o.Expand(from, to, nil).Instances)
		}
		return nil
	}
	daily, err := ical.Parse([]byte(strings.Replace(eventData(0, 0), "FREQ=WEEKLY;COUNT=10", "FREQ=DAILY", 1)), nil)
	if err != nil {
		return err
	}
	endless := ical.NewObject(daily, nil)
	year := func(int) error {
		series = len(endless.Expand(from.AddDate(10, 0, 0), from.AddDate(11, 0, 0), nil).Instances)
		return nil
	}
	medians, err := alternate(b.rounds, []func(int) error{read, expand, year})
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\nExpansion, one core\n\n")
	rate := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	fmt.Fprintf(b.out, "%d objects of %d bytes read in %s: %.0f a second\n", b.events, size/b.events, milliseconds(medians[0]), rate(b.events, medians[0]))
	fmt.Fprintf(b.out, "%d objects expanded into one week (%d instances) in %s: %.0f objects a second\n", b.events, week, milliseconds(medians[1]), rate(b.events, medians[1]))
	fmt.Fprintf(b.out, "a year of a daily series that began long before (%d instances) in %s: %.0f instances a second\n", series, milliseconds(medians[2]), rate(series, medians[2]))
	return nil
}

// idle is how long CalendarCache stays in memory while memory is measured.
const idle = 100 * time.Millisecond

// memory measures what a calendar's copy takes on the heap, with a server in a process
// of its own; without one it is silent.
func (b *bench) memory(ctx context.Context) error {
	if len(b.servers) < 2 {
		return nil
	}
	s := b.servers[1]
	client, err := s.client()
	if err != nil {
		return err
	}
	first := &bed{bench: b, server: s, client: client, dir: filepath.Join(b.dir, "memory"), idle: idle}
	if err := first.open(); err != nil {
		return err
	}
	_, err = first.list(ctx, first.believe, "one")
	if err = errors.Join(err, first.close()); err != nil {
		return err
	}
	d := *first // which reads the copy that the first has made
	first = nil
	if err := d.open(); err != nil {
		return err
	}
	defer d.close()
	http.DefaultClient.CloseIdleConnections() // which hold on to what they sent last
	before := heap()
	if _, err := d.list(ctx, d.believe, "one"); err != nil {
		return err
	}
	select {
	case <-time.After(10 * idle): // the object has left
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	warm := heap()
	d.believe.Forget("one")
	evicted := heap()
	fmt.Fprintf(b.out, "\nMemory of the copy of %d events, CalendarCache idle\n\n", b.events)
	fmt.Fprintf(b.out, "warm: %.1f MB of heap, %.0f bytes an event\n", mega(warm-before), float64(warm-before)/float64(b.events))
	fmt.Fprintf(b.out, "after eviction: %.1f MB\n", mega(evicted-before))
	return nil
}

func mega(n int64) float64 { return float64(n) / 1e6 }

// heap is what is in use once collecting frees no more: pools and finalizers let go of
// things only after some rounds.
func heap() int64 {
	for last := int64(math.MaxInt64); ; {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now := int64(m.HeapAlloc)
		if now >= last-last/100 {
			return now
		}
		last = now
	}
}
