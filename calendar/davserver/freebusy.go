package davserver

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
	"github.com/perdure/perdure/durable"
)

const productID = "-//Perdure//Calendar server//EN"

// busy is a time that is taken.
type busy struct{ start, end time.Time }

// freeBusy answers free-busy-query (RFC 4791, section 7.10): what an owner's
// calendar says of his time, and nothing else of it.
func (s *Server) freeBusy(w http.ResponseWriter, r *request, stub *durable.Stub, res *resource, body *element) error {
	e := body.child(cal("time-range"))
	if e == nil {
		return status(http.StatusBadRequest, "The query has no time-range.")
	}
	within, err := parseWholeRange(e)
	if err != nil {
		return err
	}
	ctx := r.Context()
	names, err := inRange(ctx, stub, within)
	if err != nil {
		return err
	}
	if len(names) > s.opts.MaxResults {
		return tooManyResults()
	}
	zone := res.info.zone()
	left := s.opts.MaxResults
	times := make(map[string][]busy)
	err = readEach(ctx, stub, names, true, func(_ string, o *object) error {
		if o == nil || o.Record.Component != "VEVENT" {
			return nil
		}
		parsed, err := readObject(o.Data, zone)
		if err != nil {
			return err
		}
		x := parsed.instances().Expand(within.start, within.end, &ical.ExpandOptions{MaxInstances: max(left, 1)})
		if x.Truncated != nil || len(x.Instances) > left {
			return tooManyResults()
		}
		left -= len(x.Instances)
		for _, in := range x.Instances {
			if t := busyType(in.Component); t != "" && in.Start.Before(in.End) {
				times[t] = append(times[t], busy{later(in.Start, within.start), earlier(in.End, within.end)})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	out := freeBusyCalendar(within, times).Bytes()
	w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(http.StatusOK)
	w.Write(out)
	return nil
}

// busyType returns how an event takes time, "" if it does not.
func busyType(event *ical.Component) string {
	if strings.EqualFold(event.Text("TRANSP"), "TRANSPARENT") {
		return ""
	}
	switch strings.ToUpper(event.Text("STATUS")) {
	case "CANCELLED":
		return ""
	case "TENTATIVE":
		return "BUSY-TENTATIVE"
	}
	return "BUSY"
}

func freeBusyCalendar(within *timeRange, times map[string][]busy) *ical.Calendar {
	c := ical.New(productID)
	fb := ical.NewComponent("VFREEBUSY")
	now := time.Now().UTC().Truncate(time.Second)
	fb.SetTime("DTSTAMP", ical.UTCTime(now))
	fb.SetTime("DTSTART", ical.UTCTime(within.start))
	fb.SetTime("DTEND", ical.UTCTime(within.end))
	for _, kind := range []string{"BUSY", "BUSY-TENTATIVE"} {
		for _, b := range merge(times[kind]) {
			value := ical.UTCTime(b.start).String() + "/" + ical.UTCTime(b.end).String()
			p := ical.NewProperty("FREEBUSY", value)
			if kind != "BUSY" {
				p.SetParam("FBTYPE", kind)
			}
			fb.Add(p)
		}
	}
	c.AddComponent(fb)
	return c
}

// merge joins times that overlap or touch.
func merge(list []busy) []busy {
	slices.SortFunc(list, func(a, b busy) int { return a.start.Compare(b.start) })
	var out []busy
	for _, b := range list {
		if n := len(out); n > 0 && !b.start.After(out[n-1].end) {
			out[n-1].end = later(out[n-1].end, b.end)
			continue
		}
		out = append(out, b)
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
