def test_first(site, sign_in, tmp_path):
    page = sign_in()
    import pathlib
    out = pathlib.Path("/tmp/h8shots"); out.mkdir(exist_ok=True)
    for width in (1440, 390):
        page = sign_in(width=width)
        for name, path in {"overview": "/", "connectors": "/connectors", "connector": "/connectors/ministry", "edit": "/connectors/ministry/edit", "messages": "/messages", "message": f"/messages/{site.ids['roster']}", "parked": "/parked", "codes": "/codes", "gates": "/gates", "gate": "/gates/gate-01", "airflow": "/airflow", "audit": "/audit", "users": "/users", "replay": "/replay?connector=ministry", "deliveries": "/deliveries?state=uncertain", "codesys":"/codes/systems/vn-ward", "walk": "/codes/crosswalks/vn-ward-2024--vn-ward", "password":"/password"}.items():
            r = page.goto(path)
            print(name, r.status, page.evaluate("document.documentElement.scrollWidth"))
            page.screenshot(path=str(out / f"{name}-{width}.png"), full_page=True)
