package davserver

import (
	"net/http"

	"github.com/perdure/perdure/durable"
)

// multiget answers calendar-multiget (RFC 4791, section 7.9): the objects in the
// order in which they are asked for, and 404 for what is no object of the calendar.
func (s *Server) multiget(w http.ResponseWriter, r *request, stub *durable.Stub, res *resource, body *element) error {
	want, err := s.parseObjectAnswer(body)
	if err != nil {
		return err
	}
	hrefs := body.named(dav("href"))
	if len(hrefs) == 0 {
		return status(http.StatusBadRequest, "The multiget names no object.")
	}
	if len(hrefs) > s.opts.MaxHrefs {
		return tooManyResults()
	}
	ctx := r.Context()
	m := newMultistatus(w, r.Request)
	add := func(name string, o *object) error {
		if o == nil {
			t := res.target
			t.kind, t.object = objectKind, name
			return m.status(s.href(t), http.StatusNotFound, nil)
		}
		return want.add(m, res, o, nil)
	}
	var names []string
	flush := func() error {
		err := readEach(ctx, stub, names, want.needsData(), add)
		names = names[:0]
		return err
	}
	for _, h := range hrefs {
		name, ok := s.memberName(r, h.text())
		if ok {
			names = append(names, name)
			continue
		}
		if err = flush(); err == nil {
			err = m.status(h.text(), http.StatusNotFound, nil)
		}
		if err != nil {
			return m.abort(ctx, err)
		}
	}
	if err := flush(); err != nil {
		return m.abort(ctx, err)
	}
	return m.end("")
}

// memberName returns the name of an object of the request's calendar that an href means.
func (s *Server) memberName(r *request, href string) (string, bool) {
	path, ok := hrefPath(href)
	if !ok {
		return "", false
	}
	t, ok := s.parsePath(path)
	if !ok || t.kind != objectKind || t.calendar != r.target.calendar || t.user != r.user.ID && t.user != r.user.Name {
		return "", false
	}
	return t.object, true
}
