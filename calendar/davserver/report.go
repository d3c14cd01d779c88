package davserver

import (
	"net/http"
)

// report answers REPORT: on calendars only.
func (s *Server) report(w http.ResponseWriter, r *request) error {
	body, err := s.readXML(w, r)
	if err != nil {
		return err
	}
	if body == nil {
		return status(http.StatusBadRequest, "The report has no body.")
	}
	res := &resource{s: s, user: r.user, target: r.target}
	stub, err := s.load(r.Context(), res)
	if err != nil {
		return err
	}
	if r.kind == calendarKind {
		switch body.Name {
		case cal("calendar-query"):
			return s.query(w, r, stub, res, body)
		case cal("calendar-multiget"):
			return s.multiget(w, r, stub, res, body)
		case cal("free-busy-query"):
			return s.freeBusy(w, r, stub, res, body)
		case dav("sync-collection"):
			return s.sync(w, r, stub, res, body)
		}
	}
	return refuse(dav("supported-report"), "There is no such report here.")
}
