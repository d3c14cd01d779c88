package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// password is every user's at the CalDAV server.
const password = "secret"

// events is how many there are in a user's calendar, ten a day from the first of January 2026 on.
const events = 200

// startCalDAV starts the server that users' calendars are on.
func (b *bench) startCalDAV(ctx context.Context) (stop func(), err error) {
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: davserver.Classes()})
	if err != nil {
		return nil, err
	}
	dav := davserver.New(rt, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, rt.Close())
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, ok := r.BasicAuth()
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="bench"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		dav.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), davserver.User{ID: name, Name: name})))
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		srv.Serve(l)
	}()
	stop = func() {
		srv.Close()
		<-ended
		rt.Close()
	}
	b.caldav = "http://" + l.Addr().String() + "/dav/"
	for i := range users {
		if err := b.fill(ctx, fmt.Sprint("user", i)); err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

func (b *bench) fill(ctx context.Context, user string) error {
	calendar := b.caldav + "calendars/" + user + "/personal/"
	if err := b.dav(ctx, user, "MKCALENDAR", calendar, ""); err != nil {
		return err
	}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range events {
		at := day.AddDate(0, 0, i/10).Add(time.Duration(8+i%10) * time.Hour)
		data := fmt.Sprintf("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nBEGIN:VEVENT\r\nUID:%d\r\nDTSTAMP:20260101T000000Z\r\n"+
			"DTSTART:%s\r\nDURATION:PT1H\r\nSUMMARY:Meeting number %d\r\nLOCATION:Room %d\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
			i, at.Format("20060102T150405Z"), i, i%7)
		if err := b.dav(ctx, user, "PUT", fmt.Sprintf("%s%d.ics", calendar, i), data); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) dav(ctx context.Context, user, method, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "text/calendar")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}
