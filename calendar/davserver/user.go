package davserver

import "context"

// User is who makes a request.
type User struct {
	// ID keys the user's calendars. It must never be given to somebody else.
	ID string
	// Name stands in paths and is shown; the ID does if it is "" or can't be a path's
	// segment. A path with the ID in its place means the same.
	Name string
	// Addresses are the user's mail addresses, by which programs know him among the
	// participants of a meeting (RFC 6638, section 2.4.1).
	Addresses []string
}

func (u User) segment() string {
	if validName(u.Name) {
		return u.Name
	}
	return u.ID
}

type userKey struct{}

// WithUser returns a context for requests of a user who has been authenticated.
// The server takes the user from nowhere else.
func WithUser(ctx context.Context, u User) context.Context {
	return context.WithValue(ctx, userKey{}, u)
}

// UserFromContext returns the user of a context made by [WithUser]; ok is false if there is none.
func UserFromContext(ctx context.Context) (u User, ok bool) {
	u, ok = ctx.Value(userKey{}).(User)
	return u, ok && u.ID != ""
}
