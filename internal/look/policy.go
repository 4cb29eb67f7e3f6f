package look

import (
	"crypto/sha256"
	"encoding/base64"
)

// Hash returns the source expression by which a Content-Security-Policy allows a style or a
// script with this content.
func Hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
