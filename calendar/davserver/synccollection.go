package davserver

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/perdure/perdure/durable"
)

// maxSyncLimit is a limit that no calendar reaches.
const maxSyncLimit = 1 << 30

// sync answers sync-collection (RFC 6578, section 3). Every answer ends with a token
// that goes on where it stopped, so that a limit loses nothing.
func (s *Server) sync(w http.ResponseWriter, r *request, stub *durable.Stub, res *resource, body *element) error {
	want, err := s.parseObjectAnswer(body)
	if err != nil {
		return err
	}
	if level := strings.TrimSpace(body.child(dav("sync-level")).text()); level != "" && level != "1" {
		// A calendar has one level, so infinity means the same.
		if level != "infinite" && level != "infinity" {
			return status(http.StatusBadRequest, "sync-level must be 1.")
		}
	}
	limit := 0
	if e := body.child(dav("limit")).child(dav("nresults")); e != nil {
		if limit, err = strconv.Atoi(strings.TrimSpace(e.text())); err != nil || limit <= 0 {
			return status(http.StatusBadRequest, "nresults is no number.")
		}
		limit = min(limit, maxSyncLimit)
	}
	sy := &syncing{s: s, want: want, stub: stub, res: res, limit: limit, m: newMultistatus(w, r.Request)}
	text := strings.TrimSpace(body.child(dav("sync-token")).text())
	token := syncToken{seq: res.info.Record.Seq, partial: true}
	if text != "" {
		if token, err = res.info.parseToken(text); err != nil {
			return err
		}
	}
	var next syncToken
	if token.partial {
		next, err = sy.listing(r.Context(), token)
	} else {
		next, err = sy.delta(r.Context(), token)
	}
	if err == nil && sy.truncated {
		err = sy.m.status(s.href(res.target), http.StatusInsufficientStorage,
			&failure{condition: dav("number-of-matches-within-limits")})
	}
	if err != nil {
		return sy.m.abort(r.Context(), err)
	}
	return sy.m.end("<D:sync-token>" + escaped(res.info.tokenOf(next)) + "</D:sync-token>")
}
