package calendar

import (
	"cmp"
	"container/heap"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// search goes through candidates in the order of their first instants and keeps the
// first events by start, until no further candidate can be among them. So a page of a
// large calendar parses little more than it shows.
type search struct {
	q         *Query
	zone      *time.Location
	from, to  time.Time
	after     position
	limit     int
	found     []candidate
	best      hits
	truncated bool
	skipped   int
}

type candidate struct {
	o *object
	c *collection
}

// position orders events on pages.
type position struct {
	start    int64
	id, rid  string
	calendar string
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.start, q.start), strings.Compare(p.calendar, q.calendar), strings.Compare(p.id, q.id), strings.Compare(p.rid, q.rid))
}

func newSearch(l *listing, cols []*collection, q *Query) (*search, error) {
	s := &search{q: q, limit: q.Limit}
	switch {
	case q.Limit == 0:
		s.limit = defaultLimit
	case q.Limit < 0 || q.Limit > maxLimit:
		return nil, invalid("limit", "%d is out of range; send a whole number from 1 to %d, for example %d.", q.Limit, maxLimit, defaultLimit)
	}
	if err := checkNumber("priorityMinimum", q.PriorityMinimum, 10); err != nil {
		return nil, err
	}
	var only *collection
	if len(cols) == 1 {
		only = cols[0]
	}
	s.zone = l.zone(only)
	var err error
	if q.TimeZone != "" {
		if s.zone, err = loadZone("timeZone", q.TimeZone); err != nil {
			return nil, err
		}
	}
	if err := s.setRange(); err != nil {
		return nil, err
	}
	if q.Cursor != "" {
		if s.after, err = parseCursor(q.Cursor); err != nil {
			return nil, err
		}
		if !q.Series && s.after.start > s.from.Unix() { // nothing that ended before is wanted
			s.from = time.Unix(s.after.start, 0)
		}
	} else {
		s.after.start = never
	}
	return s, nil
}

func (s *search) setRange() error {
	now := time.Now().In(s.zone)
	s.from, s.to = now.AddDate(0, -6, 0), now.AddDate(0, 6, 0)
	if s.q.Start != "" {
		w, err := parseWritten("start", s.q.Start)
		if err != nil {
			return err
		}
		s.from = w.in(s.zone)
		if s.q.End == "" {
			s.to = s.from.AddDate(1, 0, 0)
		}
	}
	if s.q.End != "" {
		w, err := parseWritten("end", s.q.End)
		if err != nil {
			return err
		}
		if w.date {
			w.wall = w.wall.AddDate(0, 0, 1)
		}
		s.to = w.in(s.zone)
		if s.q.Start == "" {
			s.from = s.to.AddDate(-1, 0, 0)
		}
	}
	if !s.from.Before(s.to) {
		return invalid("end", "the range ends before it begins; send an end after the start %s.", Moment{Time: s.from})
	}
	if s.to.Sub(s.from) > maxSpan {
		return invalid("end", "the range is longer than 50 years; send a shorter one, for example one year.")
	}
	return nil
}

func (s *search) add(c *collection, img *image) {
	for _, o := range img.order {
		if o.touches(s.from, s.to) {
			s.found = append(s.found, candidate{o, c})
		}
	}
}

func (s *search) run() (events []Event, at []position, cursor string) {
	slices.SortStableFunc(s.found, func(a, b candidate) int { return cmp.Compare(a.o.First, b.o.First) })
	for _, f := range s.found {
		if len(s.best) > s.limit && f.o.First != never && f.o.First-zoneSlack > s.best[0].at.start {
			break
		}
		s.look(f)
	}
	slices.SortFunc(s.best, func(a, b hit) int { return a.at.compare(b.at) })
	if len(s.best) > s.limit {
		s.best = s.best[:s.limit]
		cursor = s.best[s.limit-1].at.cursor()
	}
	events, at = make([]Event, len(s.best)), make([]position, len(s.best))
	for i, h := range s.best {
		events[i], at[i] = h.event(s.zone), h.at
	}
	return events, at, cursor
}

// look takes what an object contributes.
func (s *search) look(f candidate) {
	cal, err := f.o.parse()
	if err != nil {
		s.skipped++
		return
	}
	obj := ical.NewObject(cal, s.zone)
	opts := &ical.ExpandOptions{}
	if s.q.Series {
		opts.MaxInstances = 1
	}
	ex := obj.Expand(s.from, s.to, opts)
	if s.q.Series && len(ex.Instances) > 0 {
		if series, ok := seriesOf(cal, obj, s.zone); ok {
			ex.Instances = []ical.Instance{series}
		}
	} else if ex.Truncated != nil {
		s.truncated = true
	}
	for i := range ex.Instances {
		in := &ex.Instances[i]
		if in.Component.Name() == "VEVENT" && s.wanted(in.Component) {
			s.keep(hit{cal: cal, in: *in, candidate: f})
		}
	}
}

func (s *search) wanted(c *ical.Component) bool {
	q := s.q
	if q.PriorityMinimum > 0 && clamped(c.Text("X-ADHD-FOCUS-PRIORITY"), 10) < q.PriorityMinimum {
		return false
	}
	if q.ADHDCategory != "" && !strings.EqualFold(c.Text("X-ADHD-CATEGORY"), q.ADHDCategory) {
		return false
	}
	return len(q.Tags) == 0 || slices.ContainsFunc(c.TextList("CATEGORIES"), func(tag string) bool {
		return slices.ContainsFunc(q.Tags, func(want string) bool { return strings.EqualFold(tag, want) })
	})
}

func (s *search) keep(h hit) {
	h.at = position{start: h.in.Start.Unix(), calendar: h.c.ID, id: h.o.id}
	if !h.in.RecurrenceID.IsZero() {
		h.at.rid = recurrenceID(h.cal, h.in.RecurrenceID, s.zone)
	}
	if h.at.compare(s.after) <= 0 {
		return
	}
	if len(s.best) > s.limit {
		if h.at.compare(s.best[0].at) >= 0 {
			return
		}
		heap.Pop(&s.best)
	}
	heap.Push(&s.best, h)
}

// seriesOf is a series as it is written: its master. ok is false where there is none,
// but single occurrences of another's series.
func seriesOf(cal *ical.Calendar, obj *ical.Object, zone *time.Location) (ical.Instance, bool) {
	for _, c := range cal.Components("VEVENT") {
		if c.Property("RECURRENCE-ID") != nil {
			continue
		}
		start, err := c.Time("DTSTART")
		if err != nil {
			continue
		}
		at, _ := cal.Instant(start, zone)
		s := &schedule{cal: cal, comp: c, zone: zone}
		in := ical.Instance{Start: at, AllDay: start.Date, Local: start, Component: c}
		if start.Date {
			in.End = at.AddDate(0, 0, s.days(start))
		} else {
			in.End = at.Add(s.length(start, at))
		}
		return in, true
	}
	return ical.Instance{}, false
}

// hit is an event that was found.
type hit struct {
	candidate
	at  position
	cal *ical.Calendar
	in  ical.Instance
}

func (h *hit) event(zone *time.Location) Event {
	return dress(readEvent(h.cal, h.in, zone), h.c, h.o)
}

// dress puts the ids on.
func dress(e Event, c *collection, o *object) Event {
	e.ID, e.CalendarID, e.ETag = o.id, c.ID, o.ETag
	if e.RecurrenceID != "" || e.Recurrence != nil {
		e.SeriesID = o.id
	}
	return e
}

// hits is a heap with the last on top.
type hits []hit

func (h hits) Len() int           { return len(h) }
func (h hits) Less(i, j int) bool { return h[i].at.compare(h[j].at) > 0 }
func (h hits) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *hits) Push(x any)        { *h = append(*h, x.(hit)) }
func (h *hits) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s %s %s", p.start, p.calendar, p.id, p.rid))
}

func parseCursor(s string) (position, error) {
	data, err := base64.RawURLEncoding.DecodeString(s)
	parts := strings.Split(string(data), " ")
	var p position
	if err == nil && len(parts) == 4 {
		p = position{calendar: parts[1], id: parts[2], rid: parts[3]}
		if _, err := fmt.Sscanf(parts[0], "%d", &p.start); err == nil {
			return p, nil
		}
	}
	return p, invalid("cursor", "%q is none; send the cursor that the page before gave, or leave it out.", clip(s, 40))
}
