package davserver_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

func Example() {
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: davserver.Classes()})
	if err != nil {
		panic(err)
	}
	defer rt.Close()
	dav := davserver.New(rt, &davserver.Options{
		OnChange: func(c davserver.Change) { fmt.Println("changed:", c.Calendar+"/"+c.Object) },
	})

	// Whoever stands in front says who it is.
	me := davserver.User{ID: "8e1f", Name: "ada"}
	request := func(method, path, body string) *httptest.ResponseRecorder {
		ctx := davserver.WithUser(context.Background(), me)
		w := httptest.NewRecorder()
		dav.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(ctx))
		return w
	}
	request("MKCALENDAR", "/dav/calendars/ada/work/", "")
	put := request("PUT", "/dav/calendars/ada/work/lunch.ics", strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//EN
BEGIN:VEVENT
UID:lunch
DTSTAMP:20260301T120000Z
DTSTART:20260310T120000Z
SUMMARY:Lunch
END:VEVENT
END:VCALENDAR
`, "\n", "\r\n"))
	get := request("GET", "/dav/calendars/ada/work/lunch.ics", "")
	fmt.Println(http.StatusText(put.Code), put.Header().Get("ETag") == get.Header().Get("ETag"))
	fmt.Println(http.StatusText(request("GET", "/dav/calendars/bob/work/lunch.ics", "").Code))
	// Output:
	// changed: work/
	// changed: work/lunch.ics
	// Created true
	// Not Found
}

func ExampleServer_Seed() {
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: davserver.Classes()})
	if err != nil {
		panic(err)
	}
	defer rt.Close()
	dav := davserver.New(rt, nil)
	me := davserver.User{ID: "me"}
	if err := dav.Seed(context.Background(), me); err != nil {
		panic(err)
	}
	r := httptest.NewRequest("PROPFIND", "/dav/calendars/me/", nil)
	r.Header.Set("Depth", "1")
	w := httptest.NewRecorder()
	dav.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), me)))
	fmt.Println(strings.Count(w.Body.String(), "<C:calendar/>"), "calendars")
	// Output: 2 calendars
}
