"""Tables, figures and one HTML page from run records. Import the modules; matplotlib and jinja2 load only with them."""
