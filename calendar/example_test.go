package calendar_test

import (
	"context"
	"fmt"
	"log"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// A service over the calendar server in the same process.
func Example() {
	ctx := context.Background()
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: append(davserver.Classes(), calcache.Class())})
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client, err := caldav.New("http://localhost/dav/", &caldav.Options{
		Transport: inProcess{davserver.New(rt, nil), davserver.User{ID: "me"}}, // sets the user in the context
	})
	if err != nil {
		log.Fatal(err)
	}
	accounts := func(context.Context, string) (calendar.Account, error) {
		return calendar.Account{Client: client, AlwaysCheck: true}, nil
	}
	svc := calendar.New(accounts, rt.Namespace(calcache.ClassName), new(calendar.MemorySettings), nil)
	defer svc.Close()

	me := svc.User("me")
	if _, err := me.CreateCalendar(ctx, calendar.CalendarChange{DisplayName: calendar.To("Work")}); err != nil {
		log.Fatal(err)
	}
	_, err = me.CreateEvent(ctx, "", calendar.EventChange{
		Title:      calendar.To("Standup"),
		Start:      calendar.To("2026-03-23T09:00"),
		TimeZone:   calendar.To("Europe/Vienna"),
		Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 2}),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	page, err := me.ListEvents(ctx, calendar.Query{Start: "2026-03-01", End: "2026-03-31"})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range page.Events {
		fmt.Println(e.Start, e.Title) // the clocks change in between
	}
	// Output:
	// 2026-03-23T08:00:00.000Z Standup
	// 2026-03-30T07:00:00.000Z Standup
}
