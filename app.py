"""The frame of the app: who may see it, page configuration, standing notice, navigation, the page, the footer."""

import streamlit as st

from skinai.ui import components, navigation, privacy, signin

privacy.keep_uploads_in_memory()
privacy.ask_nobody_outside()
with signin.admit() as visitor:
    page = st.navigation(navigation.build_pages(visitor), position="top")
    st.set_page_config(page_title=f"{page.title} - skinai", layout="wide")
    components.show_notice()
    signin.show_account(visitor)
    page.run()
    components.show_footer()
