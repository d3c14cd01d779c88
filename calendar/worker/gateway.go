package worker

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
)

// gateway serves /objects/{binding}/{name}/{path...}; rest is what follows
// "/objects/", as sent. The object that has the decoded name gets the request
// with /{path} byte for byte: nothing is cleaned or decoded on the way.
func (w *Worker) gateway(rw http.ResponseWriter, r *http.Request, rest string) {
	if err := w.checkOperator(r); err != nil {
		w.refuse(rw, r, err)
		return
	}
	binding, rest, _ := strings.Cut(rest, "/")
	rawName, path, slash := strings.Cut(rest, "/")
	objects := w.objects[binding]
	if objects == nil {
		fail(rw, http.StatusNotFound, fmt.Sprintf("There is no binding %.100q", binding))
		return
	}
	if rawName == "" && !slash {
		fail(rw, http.StatusNotFound, "The path needs an object's name: /objects/"+binding+"/{name}/{path}")
		return
	}
	name, err := url.PathUnescape(rawName)
	if err != nil {
		fail(rw, http.StatusBadRequest, "The object's name has an invalid percent escape")
		return
	}
	inner, err := objectURL("/"+path, r.URL)
	if err != nil {
		fail(rw, http.StatusBadRequest, "The path has an invalid percent escape")
		return
	}
	req := r.WithContext(r.Context())
	req.URL = inner
	req.RequestURI = "/" + path
	if inner.RawQuery != "" || inner.ForceQuery {
		req.RequestURI += "?" + inner.RawQuery
	}
	if w.opts.Token != "" {
		req.Header = r.Header.Clone()
		req.Header.Del("Authorization") // the operator's secret is not the object's
	}
	objects.Named(name).ServeHTTP(rw, req)
}

func objectURL(raw string, sent *url.URL) (*url.URL, error) {
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil, err
	}
	return &url.URL{Path: path, RawPath: raw, RawQuery: sent.RawQuery, ForceQuery: sent.ForceQuery}, nil
}

// rawPath returns the path of a request as it was sent.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	if r.URL.RawPath != "" {
		return r.URL.RawPath
	}
	return r.URL.EscapedPath()
}

var errShut = &refusal{status: http.StatusForbidden,
	text: "There are users, so that /objects/ needs the operator's token: start the server with PERDURE_TOKEN"}

// checkOperator lets the operator in: whoever has the token, or, without one, this
// machine as long as no user's data is there to protect.
func (w *Worker) checkOperator(r *http.Request) error {
	if w.opts.Token == "" {
		any, err := w.accounts.Any(r.Context())
		if err == nil && any {
			err = errShut
		}
		return err
	}
	token, given := bearer(r)
	if !given {
		return errNoToken
	}
	key := keyOf(r.RemoteAddr, accounts.Me) // the same secret as in login
	paid, wait := w.guard.begin(key, time.Now())
	if wait > 0 {
		return w.heldBack(r, wait)
	}
	ok := sameSecret(token, w.opts.Token)
	w.guard.end(key, time.Now(), paid, ok)
	if !ok {
		return errToken
	}
	return nil
}
