// Package accounts keeps who may use the calendars: users with a secret of their own,
// the sealed credentials of their calendar servers, and their settings.
//
// A user has a name, for people, and an id, for everything else: what a user owns is
// keyed by the id, which is random and never given out again, so that a new user of an
// old name gets nothing of the old one's. The id [Me] is the single user's, who exists
// without having been added and has no secret.
//
// # Classes
//
// Users is one object, named "all"; keys are:
//
//	c              how many users there are
//	n NAME         a user: a CBOR map of id (1) and time of adding (2)
//	i ID           the user's name
//	r NAME " " ID  a removed user whose data may still be there: time of removal (1)
//	d ID           the removed user's name
//
// User is one object per user id; keys are:
//
//	u              a CBOR map of name (1), time of adding (2), SHA-256 of the secret (3), removed (4)
//	c              the sealed credential
//	s              a CBOR map of version (1) and settings (2), a JSON object
//
// A sealed value is a version byte (1), a nonce of 12 bytes and what AES-256-GCM makes of
// the text, with purpose and user id as additional data.
//
// # What holds at every moment
//
//  1. Nobody logs in who is not in Users: a user's object alone is worth nothing. So a
//     user is made first and entered last, and leaves Users before anything else.
//  2. What is removed stays known to Users until the last of its data is gone, so that
//     a removal or purge that broke off can be done again.
//  3. Secrets are kept as hashes. A secret has 256 random bits: nothing slower than one
//     SHA-256 would make it harder to guess.
//  4. No error and no log line holds a secret, a password or a key.
package accounts
