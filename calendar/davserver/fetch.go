package davserver

import (
	"context"
	"slices"

	"github.com/perdure/perdure/durable"
)

// A report asks for properties of objects, and perhaps for their data.
type objectAnswer struct {
	*selection
	data      *dataSelection // nil: no calendar-data
	instances int            // how many instances it may still expand to
}

func (s *Server) parseObjectAnswer(body *element) (*objectAnswer, error) {
	sel, err := parseSelection(body)
	if err != nil {
		return nil, err
	}
	a := &objectAnswer{selection: sel, instances: s.opts.MaxResults}
	if p := body.child(dav("prop")).child(cal("calendar-data")); p != nil {
		a.data, err = parseDataSelection(p)
	}
	return a, err
}

// needsData reports whether the answer needs more of an object than its record.
func (a *objectAnswer) needsData() bool { return a.data != nil }

// add writes one object to the answer. parsed may be nil; then the object is read if
// that is needed.
func (a *objectAnswer) add(m *multistatus, parent *resource, o *object, parsed *read) error {
	t := parent.target
	t.kind, t.object = objectKind, o.Name
	r := &resource{s: parent.s, user: parent.user, target: t, info: parent.info, obj: o}
	if a.data != nil {
		data, err := a.data.of(o.Data, parsed, parent.info, &a.instances)
		if err != nil {
			return err
		}
		text := escaped(data)
		r.data = &text
	}
	return m.response(parent.s.href(t), a.of(r))
}

// readEach reads objects by name and calls fn for each name in its order, with nil
// for those that do not exist.
func readEach(ctx context.Context, stub *durable.Stub, names []string, data bool, fn func(name string, o *object) error) error {
	for len(names) > 0 {
		res, err := durable.Call(ctx, stub, (*calendar).Read, readArgs{Names: names[:min(len(names), batchKeys)], Data: data})
		if err != nil {
			return err
		}
		objects := res.Objects
		for _, name := range names[:res.Looked] {
			if err := ctx.Err(); err != nil {
				return err // what fn does with an object may take long
			}
			var o *object
			if len(objects) > 0 && objects[0].Name == name {
				o, objects = &objects[0], objects[1:]
			}
			if err := fn(name, o); err != nil {
				return err
			}
		}
		names = names[res.Looked:]
	}
	return nil
}

// rangePageNames is how many names a call to InRange returns: nearly always all, so
// that an object that moves in the index meanwhile is not missed.
const rangePageNames = 10_000

// inRange returns the names of objects that the index does not rule out, sorted.
func inRange(ctx context.Context, stub *durable.Stub, within *timeRange) ([]string, error) {
	args := rangeArgs{Start: seconds(within.start, always), End: seconds(within.end, forever), Limit: rangePageNames}
	var names []string
	for {
		page, err := durable.Call(ctx, stub, (*calendar).InRange, args)
		if err != nil {
			return nil, err
		}
		names = append(names, page.Names...)
		if !page.More {
			break
		}
		args.From = page.Next
	}
	slices.Sort(names)
	return slices.Compact(names), nil // one that moved between two pages may be there twice
}
