package page

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
)

// maxLogo is the size of a logo at most, because it is part of every page.
const maxLogo = 32 << 10

// readLogo returns the image in a file as an element of the page.
func readLogo(name string) (string, error) {
	image, err := readFile(name, maxLogo)
	if err != nil {
		return "", fmt.Errorf("logo: %w", err)
	}
	kind := imageType(image)
	if kind == "" {
		return "", fmt.Errorf("logo: %s: must be a PNG image, or an SVG with xmlns=%q", name, svgElement.Space)
	}
	return `<img src="data:` + kind + ";base64," + base64.StdEncoding.EncodeToString(image) + `" alt="">`, nil
}

// imageType looks at what is in a file, not at its name. It is empty for what is
// no image that can be shown.
func imageType(image []byte) string {
	if isPNG(image) {
		return "image/png"
	}
	if isSVG(image) {
		return "image/svg+xml"
	}
	return ""
}

func isPNG(image []byte) bool {
	const maxSide = 2048 // a few bytes can claim to be a picture that fills the memory
	size, err := png.DecodeConfig(bytes.NewReader(image))
	if err != nil || size.Width > maxSide || size.Height > maxSide {
		return false
	}
	_, err = png.Decode(bytes.NewReader(image))
	return err == nil
}

// isSVG tells whether this is XML to its end, in one svg element. What scripts
// there are in it, no browser runs: it is shown by an img element.
func isSVG(image []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(image))
	depth, roots := 0, 0
	for {
		token, err := decoder.Token()
		if err != nil {
			return errors.Is(err, io.EOF) && roots == 1
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
				if t.Name != svgElement {
					return false
				}
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

var svgElement = xml.Name{Space: "http://www.w3.org/2000/svg", Local: "svg"}
