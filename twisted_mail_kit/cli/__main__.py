"""`python -m twisted_mail_kit.cli`: the `mailkit` command where its script is not in the path."""

from twisted_mail_kit.cli import main

if __name__ == "__main__":
    main(prog_name="mailkit")
