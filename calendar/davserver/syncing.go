package davserver

import (
	"context"
	"net/http"

	"github.com/perdure/perdure/durable"
)

// syncing is one sync-collection under way. Its calls see the calendar at different
// moments. That is no harm: the token says the moment before the first of them, so
// whatever comes later is told again the next time.
type syncing struct {
	s         *Server
	want      *objectAnswer
	stub      *durable.Stub
	res       *resource
	m         *multistatus
	limit     int // 0: none
	truncated bool
}

// listing tells all objects behind a name, up to the limit.
func (sy *syncing) listing(ctx context.Context, t syncToken) (syncToken, error) {
	told := 0
	for {
		n := listPage
		if sy.limit > 0 {
			n = min(n, sy.limit-told+1) // one more, to know whether it is the last
		}
		page, err := durable.Call(ctx, sy.stub, (*calendar).List, listArgs{After: t.after, Limit: n})
		if err != nil {
			return t, err
		}
		full := len(page) == n
		if sy.limit > 0 && told+len(page) > sy.limit {
			page, sy.truncated = page[:sy.limit-told], true
		}
		if sy.want.needsData() {
			err = readEach(ctx, sy.stub, namesOf(page), true, sy.existing)
		} else {
			for i := 0; i < len(page) && err == nil; i++ {
				err = sy.add(&page[i])
			}
		}
		if err != nil {
			return t, err
		}
		if len(page) > 0 {
			t.after = page[len(page)-1].Name
		}
		told += len(page)
		if sy.truncated {
			return t, nil
		}
		if !full {
			return syncToken{seq: t.seq}, nil
		}
	}
}

// delta tells what has changed since a token, up to the limit. What matters is whether an
// object exists now; the log only says which to look at.
func (sy *syncing) delta(ctx context.Context, t syncToken) (syncToken, error) {
	res, err := durable.Call(ctx, sy.stub, (*calendar).Changes, changesArgs{Since: t.seq, Limit: sy.limit})
	if err != nil {
		return t, err
	}
	sy.truncated = res.More && sy.limit > 0
	// An object that came and went since the token is told as gone, although the
	// client need not know it: a listing that read on while it came may have told it.
	return syncToken{seq: res.Seq}, readEach(ctx, sy.stub, res.Names, sy.want.needsData(), sy.one)
}

// existing tells an object of a listing unless it was deleted meanwhile.
func (sy *syncing) existing(_ string, o *object) error {
	if o == nil {
		return nil
	}
	return sy.add(o)
}

func (sy *syncing) one(name string, o *object) error {
	if o != nil {
		return sy.add(o)
	}
	t := sy.res.target
	t.kind, t.object = objectKind, name
	return sy.m.status(sy.s.href(t), http.StatusNotFound, nil)
}

func (sy *syncing) add(o *object) error { return sy.want.add(sy.m, sy.res, o, nil) }
