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

// maxLogo is the largest size of a logo in bytes: it is part of every page.
const maxLogo = 32 << 10

// readLogo returns an img element with the image in a file.
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

// imageType returns the media type of an image by its content. It is empty if a page cannot
// show the image.
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
	const maxSide = 2048 // pixels; decoding a larger one, of only a few bytes, could fill the memory
	size, err := png.DecodeConfig(bytes.NewReader(image))
	if err != nil || size.Width > maxSide || size.Height > maxSide {
		return false
	}
	_, err = png.Decode(bytes.NewReader(image))
	return err == nil
}

// isSVG reports whether this is well-formed XML with a single svg element as its root. Scripts
// in it are harmless: no browser runs them in an img element.
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
