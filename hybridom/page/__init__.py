"""Tables and figures as one HTML page that needs no other file.

`document` puts a page together from parts; `experiment` is the page of one experiment, `gallery`
its figures as small files for a README. The browser's part is `page.js`, written by hand.
"""
