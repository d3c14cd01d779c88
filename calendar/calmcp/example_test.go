package calmcp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// An assistant in the same process, over a calendar server that is there, too.
func ExampleSurface() {
	ctx := context.Background()
	classes := append(davserver.Classes(), sessions.Class(), calcache.Class())
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: classes})
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	me := davserver.User{ID: "me"}
	dav := davserver.New(rt, nil)
	if err := dav.Seed(ctx, me); err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dav.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), me)))
	}))
	defer server.Close()
	client, err := caldav.New(server.URL+"/dav/", nil)
	if err != nil {
		log.Fatal(err)
	}
	svc := calendar.New(func(context.Context, string) (calendar.Account, error) {
		return calendar.Account{Client: client, Source: server.URL}, nil
	}, rt.Namespace(calcache.ClassName), &calendar.MemorySettings{}, nil)
	defer svc.Close()

	surface := calmcp.NewSurface(&calmcp.SurfaceOptions{Calendars: svc, Sessions: rt.Namespace(sessions.ClassName)})
	here, there := mcp.NewInMemoryTransports()
	served, err := surface.Server(calmcp.Caller{User: "me"}, nil).Connect(ctx, here, nil)
	if err != nil {
		log.Fatal(err)
	}
	assistant, err := mcp.NewClient(&mcp.Implementation{Name: "assistant"}, nil).Connect(ctx, there, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, args := range []map[string]any{
		{"title": "Dentist", "start": "2026-03-10T09:00", "timeZone": "Europe/Vienna"},
		{"title": "Dentist", "start": "soon"},
	} {
		res, err := assistant.CallTool(ctx, &mcp.CallToolParams{Name: "createEvent", Arguments: args})
		if err != nil {
			log.Fatal(err)
		}
		if res.IsError {
			fmt.Println(res.Content[0].(*mcp.TextContent).Text)
			continue
		}
		event := res.StructuredContent.(map[string]any)["event"].(map[string]any)
		fmt.Println(event["title"], event["start"], event["timeZone"])
	}
	assistant.Close()
	served.Wait()
	// Output:
	// Dentist 2026-03-10T08:00:00.000Z Europe/Vienna
	// Failed to create event: Invalid request data. Please check your input and try again. start: "soon" is not a date or time that exists; send a date like 2026-03-10, a local time like 2026-03-10T09:00:00, or a time with offset like 2026-03-10T09:00:00+01:00 or 2026-03-10T08:00:00Z.
}
