package davserver

import (
	"strings"
	"testing"
)

// answer is a multistatus as a client reads it.
type answer struct {
	responses []answerResponse
	token     string
}

type answerResponse struct {
	href   string
	status string // of the response itself, "" if it has properties
	etag   string
	data   string
	failed bool // it has a DAV:error
}

func parseAnswer(t testing.TB, body string) answer {
	t.Helper()
	root, err := parseXML([]byte(body))
	if err != nil {
		t.Fatalf("answer: %v\n%s", err, body)
	}
	a := answer{token: root.child(dav("sync-token")).text()}
	for _, r := range root.named(dav("response")) {
		res := answerResponse{href: r.child(dav("href")).text(), failed: r.child(dav("error")) != nil}
		if s := r.child(dav("status")); s != nil {
			_, res.status, _ = strings.Cut(s.text(), " ")
			res.status = res.status[:3]
		}
		for _, ps := range r.named(dav("propstat")) {
			if strings.Contains(ps.child(dav("status")).text(), " 200 ") {
				p := ps.child(dav("prop"))
				res.etag += p.child(dav("getetag")).text()
				res.data += p.child(cal("calendar-data")).text()
			}
		}
		a.responses = append(a.responses, res)
	}
	return a
}
