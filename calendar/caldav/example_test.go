package caldav_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/perdure/perdure/calendar/caldav"
)

// A client that keeps a copy of every calendar: the first time everything comes, then only
// what changed.
func Example() {
	ctx := context.Background()
	c, err := caldav.New("https://cloud.example.org", &caldav.Options{
		Credential: caldav.Credential{Username: "alice", Password: "app-password"},
		Transport:  exampleServer{}, // leave this out
	})
	if err != nil {
		log.Fatal(err)
	}
	home, err := c.Discover(ctx)
	if err != nil {
		log.Fatal(err)
	}
	calendars, err := c.ListCalendars(ctx, home)
	if err != nil {
		log.Fatal(err)
	}
	token := "" // kept from the last time
	for _, cal := range calendars {
		fmt.Println(cal.DisplayName, cal.Href)
		delta, err := c.Sync(ctx, cal.Href, token)
		if errors.Is(err, caldav.ErrSyncTokenInvalid) {
			delta, err = c.Sync(ctx, cal.Href, "")
		}
		if err != nil {
			log.Fatal(err)
		}
		var changed []string
		for _, e := range delta.Changed {
			changed = append(changed, e.Href)
		}
		for obj, err := range c.Multiget(ctx, cal.Href, changed) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(obj.Href, obj.ETag, len(obj.Data), "bytes")
		}
		fmt.Println("next time from", delta.Token)
	}
	// Output:
	// Work /dav/alice/work/
	// /dav/alice/work/a.ics "1" 15 bytes
	// next time from token-1
}

func ExampleClient_UpdateObject() {
	ctx := context.Background()
	c, err := caldav.New("https://cloud.example.org", &caldav.Options{Transport: exampleServer{}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.UpdateObject(ctx, "/dav/alice/work/a.ics", `"0"`, []byte("BEGIN:VCALENDAR"))
	if errors.Is(err, caldav.ErrPreconditionFailed) {
		var status *caldav.StatusError
		errors.As(err, &status)
		fmt.Println("somebody changed it; it is now", status.ETag)
	}
	// Output:
	// somebody changed it; it is now "1"
}

// exampleServer stands for a real one.
type exampleServer struct{}

func (exampleServer) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body := http.StatusMultiStatus, ""
	response := func(href, prop string) {
		body += `<response><href>` + href + `</href><propstat><prop>` + prop + `</prop><status>HTTP/1.1 200 OK</status></propstat></response>`
	}
	asked, _ := io.ReadAll(req.Body)
	switch req.Method + " " + req.URL.Path {
	case "PROPFIND /.well-known/caldav":
		response("/dav/", `<current-user-principal><href>/dav/alice/</href></current-user-principal>`)
	case "PROPFIND /dav/alice/":
		response("/dav/alice/", `<C:calendar-home-set><href>/dav/alice/</href></C:calendar-home-set>`)
		response("/dav/alice/work/", `<resourcetype><collection/><C:calendar/></resourcetype><displayname>Work</displayname>`)
	case "PROPFIND /dav/alice/work/":
		response("/dav/alice/work/", `<resourcetype><collection/><C:calendar/></resourcetype>`)
	case "REPORT /dav/alice/work/":
		response("/dav/alice/work/a.ics", `<getetag>"1"</getetag><C:calendar-data>BEGIN:VCALENDAR</C:calendar-data>`)
		if strings.Contains(string(asked), "sync-collection") {
			body += `<sync-token>token-1</sync-token>`
		}
	case "PUT /dav/alice/work/a.ics":
		status = http.StatusPreconditionFailed
	default:
		status = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Etag": {`"1"`}},
		Body: io.NopCloser(strings.NewReader(`<multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">` + body + `</multistatus>`)),
	}, nil
}
