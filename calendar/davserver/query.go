package davserver

import (
	"context"
	"net/http"
	"time"

	"github.com/perdure/perdure/durable"
)

func tooManyResults() error {
	return refuse(dav("number-of-matches-within-limits"), "The report would be too large. Ask for a shorter time.")
}

// query answers calendar-query (RFC 4791, section 7.8). The index leaves those
// objects that may match; the filter is then held against each of them.
func (s *Server) query(w http.ResponseWriter, r *request, stub *durable.Stub, res *resource, body *element) error {
	want, err := s.parseObjectAnswer(body)
	if err != nil {
		return err
	}
	filters := body.named(cal("filter"))
	if len(filters) != 1 {
		return invalidFilter("there is not exactly one")
	}
	f, err := parseFilter(filters[0])
	if err != nil {
		return err
	}
	zone, err := requestZone(body, res.info)
	if err != nil {
		return err
	}
	m := newMultistatus(w, r.Request)
	if d, err := depth(r, 1); err != nil {
		return err
	} else if d == 0 {
		return m.end("") // the calendar itself is no object
	}
	ctx := r.Context()
	found, recorded, err := s.candidates(ctx, stub, f)
	if err != nil {
		return err
	}
	trivial := f.trivial()
	if trivial && recorded && !want.needsData() {
		for i := range found {
			if err := want.add(m, res, &found[i], nil); err != nil {
				return m.abort(ctx, err)
			}
		}
		return m.end("")
	}
	err = readEach(ctx, stub, namesOf(found), true, func(_ string, o *object) error {
		if o == nil {
			return nil
		}
		if trivial {
			return want.add(m, res, o, nil)
		}
		parsed, err := readObject(o.Data, zone)
		if err != nil || !f.matches(parsed) {
			return err
		}
		return want.add(m, res, o, parsed)
	})
	if err != nil {
		return m.abort(ctx, err)
	}
	return m.end("")
}

// candidates returns the objects that a filter has to be held against, without their
// data; with their records only if recorded is set.
func (s *Server) candidates(ctx context.Context, stub *durable.Stub, f *filter) (found []object, recorded bool, err error) {
	component, within := f.hint()
	if within != nil {
		var names []string
		names, err = inRange(ctx, stub, within)
		for _, name := range names {
			found = append(found, object{Name: name})
		}
	} else {
		recorded = true
		err = s.eachObject(ctx, stub, func(o *object) error {
			if (component == "" || o.Record.Component == component) && f.mayMatchUID(o.Record.UID) {
				found = append(found, *o)
			}
			return nil
		})
	}
	if err == nil && len(found) > s.opts.MaxResults {
		err = tooManyResults()
	}
	return found, recorded, err
}

func namesOf(objects []object) []string {
	names := make([]string, len(objects))
	for i := range objects {
		names[i] = objects[i].Name
	}
	return names
}

// requestZone returns the zone for dates and floating times: that of the request, else the
// calendar's.
func requestZone(body *element, info *calendarInfo) (*time.Location, error) {
	e := body.child(cal("timezone"))
	if e == nil {
		return info.zone(), nil
	}
	loc, err := readTimezone(e.text())
	if err != nil {
		return nil, badData("The timezone cannot be read.")
	}
	return loc, nil
}
