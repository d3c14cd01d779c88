package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// newSecret returns 256 random bits as text without a dot.
func newSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// splitToken takes "id.secret" apart. Without a dot all of it is the secret.
func splitToken(token string) (id, secret string) {
	if id, secret, ok := strings.Cut(token, "."); ok {
		return id, secret
	}
	return "", token
}
