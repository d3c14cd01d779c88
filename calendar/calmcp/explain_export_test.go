package calmcp

// Explain is what a client is told of an error.
func Explain(err error) string {
	sentence, detail, _ := explain(err)
	return sentence + " " + detail
}
